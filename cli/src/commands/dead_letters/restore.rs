//! `millrace dead-letters restore`

use millrace::Result;

use super::context::DeadLetterContext;
use super::ids;
use super::output::stopped;
use crate::arguments::dead_letters::RestoreDeadLetters;
use crate::commands::{CommandOutcome, Stop};
use crate::dead_letters::ScanProgress;
use crate::terminal::{Terminal, counted};

pub(super) async fn run(
    arguments: &RestoreDeadLetters,
    context: &DeadLetterContext<'_>,
    stop: &mut Stop,
    terminal: &mut Terminal,
) -> Result<CommandOutcome> {
    let Some(filter) = stop.unless_asked(ids::filter(&arguments.filter, true, context)).await? else {
        return Ok(stopped("no dead letter is restored", terminal));
    };
    let mut restored: u64 = 0;
    let archive = context.archive();
    let ended = {
        let progress = ScanProgress::new("restoring dead letters");
        let work = archive.each(&progress, async |archived| {
            if archived.entry.is_meant(&filter) {
                archive.restore(&archived).await?;
                restored += 1;
            }
            Ok(())
        });
        stop.unless_asked(work).await?
    };
    let done = counted(restored, "dead letter", "dead letters");
    if ended.is_none() {
        return Ok(stopped(&format!("{done} restored so far, the others are in the archive"), terminal));
    }
    if restored == 0 {
        terminal.line("  no such dead letter in the archive");
    } else {
        terminal.good(&format!("{done} back in the dead-letter queue"));
    }
    Ok(CommandOutcome::Done)
}
