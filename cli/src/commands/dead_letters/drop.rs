//! `millrace dead-letters drop`

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, IsTerminal};

use millrace::dead_letter::{DeadLetter, Filter, ReceivedMessage};
use millrace::{Error, Kind, Result};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::context::DeadLetterContext;
use super::ids;
use super::output::{print_incomplete, stopped};
use super::selection::check_meant;
use crate::arguments::dead_letters::DropDeadLetters;
use crate::commands::{CommandOutcome, Stop};
use crate::dead_letters::entry::Entry;
use crate::dead_letters::summary::{DeadLetterSummary, counted_dead_letters};
use crate::dead_letters::{ScanProgress, each};
use crate::terminal::{TableExtent, Terminal, counted, figure};

/// More lines are not read by anybody.
const SHOWN: usize = 50;

pub(super) fn check(arguments: &DropDeadLetters) -> Result<()> {
    check_meant(arguments.filter.is_empty(), arguments.all, "drop")?;
    if !arguments.yes && !std::io::stdin().is_terminal() {
        return Err(Error::new(
            Kind::Config,
            "drop asks before it deletes, and there is no terminal to ask on: look with `millrace dead-letters list` and \
             the same filter, then add --yes",
        ));
    }
    Ok(())
}

pub(super) async fn run(
    arguments: &DropDeadLetters,
    context: &DeadLetterContext<'_>,
    stop: &mut Stop,
    terminal: &mut Terminal,
) -> Result<CommandOutcome> {
    let found = async {
        let filter = ids::filter(&arguments.filter, false, context).await?;
        find(context, &filter).await
    };
    let Some((found, complete)) = stop.unless_asked(found).await? else {
        return Ok(stopped("no dead letter is dropped", terminal));
    };
    if found.summary.is_empty() {
        terminal.line("  no such dead letter in the dead-letter queue");
        return Ok(CommandOutcome::Done);
    }
    let lines = found.summary.lines();
    found.summary.print_lines(&lines[..lines.len().min(SHOWN)], TableExtent::Terminal, terminal);
    if lines.len() > SHOWN {
        terminal.line(&format!("  and {} more", figure((lines.len() - SHOWN) as u64)));
    }
    terminal.line("");
    found.summary.print_totals(terminal);
    terminal.line("");
    if !complete {
        print_incomplete(terminal);
    }
    if !arguments.yes {
        terminal.prompt(&format!(
            "Drop {}? [y/N] ",
            counted(found.summary.len() as u64, "dead letter", "dead letters")
        ));
        match stop.unless_asked(answer()).await? {
            Some(true) => {}
            Some(false) => {
                terminal.line("nothing is dropped");
                return Ok(CommandOutcome::Done);
            }
            None => return Ok(stopped("no dead letter is dropped", terminal)),
        }
    }
    let mut dropped = Dropped::default();
    let ended = stop.unless_asked(drop_found(context, &found.message_ids, &mut dropped)).await?;
    let done = counted_dead_letters(dropped.ids.len(), dropped.messages);
    if ended.is_none() {
        return Ok(stopped(&format!("{done} dropped so far, the others are in the queue"), terminal));
    }
    terminal.good(&format!("{done} dropped"));
    let gone = found.message_ids.len() as u64 - dropped.messages;
    if gone > 0 {
        let gone = counted(gone, "message", "messages");
        terminal.line(&format!("{gone} no longer in the queue, or received by another receiver"));
    }
    Ok(CommandOutcome::Done)
}

/// What is shown before it is asked for.
#[derive(Default)]
struct FoundMessages {
    summary: DeadLetterSummary,
    message_ids: HashSet<String>,
}

async fn find(context: &DeadLetterContext<'_>, filter: &Filter) -> Result<(FoundMessages, bool)> {
    let progress = ScanProgress::new("reading the dead-letter queue");
    let mut found = FoundMessages::default();
    let complete = each(&context.reader, &progress, |entry| {
        if entry.is_meant(filter) {
            found.summary.add(&entry);
            found.message_ids.insert(entry.message_id);
        }
        Ok(true)
    })
    .await?;
    Ok((found, complete))
}

#[derive(Default)]
struct Dropped {
    ids: HashSet<Uuid>,
    messages: u64,
}

/// Deletes the messages that were shown, and no other: whatever came since has not been seen by anybody.
async fn drop_found(
    context: &DeadLetterContext<'_>,
    message_ids: &HashSet<String>,
    dropped: &mut Dropped,
) -> Result<()> {
    let progress = ScanProgress::new("dropping dead letters");
    // Objects go last, and only those that no dead letter points to that stays.
    let mut pointers: HashMap<Uuid, DeadLetter> = HashMap::new();
    let mut staying: HashSet<Uuid> = HashSet::new();
    let mut scan = context.reader.scan();
    while let Some(messages) = scan.next().await? {
        let (chosen, others): (Vec<ReceivedMessage>, Vec<ReceivedMessage>) =
            messages.into_iter().partition(|message| message_ids.contains(&message.id));
        let id = |message| Some(Entry::of_message(message, context.reader.sources()).dead_letter?.id);
        staying.extend(others.into_iter().filter_map(id));
        if chosen.is_empty() {
            continue;
        }
        scan.delete(&chosen.iter().collect::<Vec<_>>()).await?;
        progress.add(chosen.len());
        for message in chosen {
            let entry = Entry::of_message(message, context.reader.sources());
            dropped.ids.insert(entry.id);
            dropped.messages += 1;
            pointers.extend(
                entry
                    .dead_letter
                    .filter(DeadLetter::is_pointer)
                    .map(|dead_letter| (dead_letter.id, dead_letter)),
            );
        }
    }
    let complete = scan.is_complete();
    scan.finish().await?;
    if complete {
        for dead_letter in pointers.values().filter(|dead_letter| !staying.contains(&dead_letter.id)) {
            context.reader.delete_object(dead_letter).await?;
        }
    }
    Ok(())
}

/// Whether the answer is yes. It is read beside: a program that is asked to stop need not wait for it.
async fn answer() -> Result<bool> {
    let (send, receive) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        // Nobody hears it once the program was asked to stop.
        drop(send.send(read.map(|_| line)));
    });
    let line = receive.await.map_err(|error| Error::new(Kind::Bug, "read the answer").with_source(error))?;
    let line = line.map_err(|error| Error::new(Kind::Config, "read the answer").with_source(error))?;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}
