//! `millrace dead-letters list`

use millrace::Result;

use super::context::DeadLetterContext;
use super::ids;
use super::output::{print_incomplete, print_json, stopped};
use crate::arguments::dead_letters::ListDeadLetters;
use crate::commands::{CommandOutcome, Stop};
use crate::dead_letters::summary::{DeadLetterLine, DeadLetterSummary, Page, counted_dead_letters};
use crate::terminal::{TableExtent, Terminal};

pub(super) async fn run(
    arguments: &ListDeadLetters,
    context: &DeadLetterContext<'_>,
    stop: &mut Stop,
    terminal: &mut Terminal,
) -> Result<CommandOutcome> {
    let unchanged = "no dead letter was changed";
    let filter = ids::filter(&arguments.filter, arguments.archived, context);
    let Some(filter) = stop.unless_asked(filter).await? else {
        return Ok(stopped(unchanged, terminal));
    };
    let Some((summary, complete)) = context.summary(&filter, arguments.archived, stop).await? else {
        return Ok(stopped(unchanged, terminal));
    };
    let lines = summary.lines();
    let (shown, pages) = page(&lines, arguments.page, arguments.limit);
    if arguments.json {
        let page = Page {
            dead_letters: shown,
            page: arguments.page,
            pages,
            matching: summary.len(),
            messages: summary.messages(),
            complete,
            totals: summary.totals(),
        };
        print_json(&page, terminal)?;
        return Ok(CommandOutcome::Done);
    }
    print(&summary, shown, arguments, pages, terminal);
    if !complete {
        print_incomplete(terminal);
    }
    Ok(CommandOutcome::Done)
}

/// The lines of one page, from 1, and how many pages there are.
fn page<'a, 'b>(lines: &'a [&'b DeadLetterLine], page: u32, limit: u32) -> (&'a [&'b DeadLetterLine], u32) {
    let (page, limit) = (page as usize, limit as usize);
    let from = (page - 1).saturating_mul(limit).min(lines.len());
    let to = from.saturating_add(limit).min(lines.len());
    (&lines[from..to], u32::try_from(lines.len().div_ceil(limit)).unwrap_or(u32::MAX))
}

fn print(
    summary: &DeadLetterSummary,
    shown: &[&DeadLetterLine],
    arguments: &ListDeadLetters,
    pages: u32,
    terminal: &mut Terminal,
) {
    let place = if arguments.archived { "in the archive" } else { "in the dead-letter queue" };
    if summary.is_empty() {
        terminal.line(&format!("  no such dead letter {place}"));
        return;
    }
    let mut is_cut = false;
    if shown.is_empty() {
        terminal.line(&format!("  there is no page {}", arguments.page));
    } else {
        is_cut = summary.print_lines(shown, TableExtent::of(arguments.wide), terminal);
    }
    terminal.line("");
    summary.print_totals(terminal);
    terminal.line("");
    terminal.line(&format!(
        "  {} {place}; page {} of {pages}",
        counted_dead_letters(summary.len(), summary.messages()),
        arguments.page
    ));
    if is_cut {
        terminal.hint("  --wide shows every column and the whole text");
    }
}
