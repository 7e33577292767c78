//! What several subcommands print.

use millrace::{Error, Kind, Result};
use serde::Serialize;

use crate::commands::CommandOutcome;
use crate::terminal::Terminal;

/// The outcome after Ctrl-C; nothing is lost.
pub(super) fn stopped(what: &str, terminal: &mut Terminal) -> CommandOutcome {
    terminal.bad(&format!("stopped; {what}"));
    CommandOutcome::TimedOut
}

pub(super) fn print_json(value: &impl Serialize, terminal: &mut Terminal) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::new(Kind::Bug, "write dead letters as JSON").with_source(error))?;
    terminal.line(&text);
    Ok(())
}

pub(super) fn print_incomplete(terminal: &mut Terminal) {
    terminal.bad(
        "This list is incomplete: the queue has more messages than a scan can receive, or responds too slowly. Redrive, drop or \
         archive some, and look again.",
    );
}
