//! `millrace status`

use millrace::Result;
use serde::Serialize;

use super::CommandOutcome;
use crate::arguments::Status;
use crate::checkout::Checkout;
use crate::environment::Environment;
use crate::lag::Lag;
use crate::ledger::{EventType, Report};
use crate::model_runs::ModelRun;
use crate::terminal::table::TableColumn;
use crate::terminal::{TableExtent, Terminal, age, figure, one_line};
use crate::{dead_letters, loads};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct StatusOutput<'a> {
    #[serde(flatten)]
    report: &'a Report,
    reconciles: bool,
    queues: Queues,
}

/// Messages in the queues, as SQS estimates them.
#[derive(Debug, Clone, Copy, Serialize)]
struct Queues {
    uploads: i64,
    dead_letters: i64,
}

pub async fn run(arguments: &Status, checkout: &Checkout, terminal: &mut Terminal) -> Result<CommandOutcome> {
    let environment = Environment::load(checkout)?;
    let mut database = loads::connect(&environment.database_url, "millrace status").await?;
    let clients = environment.clients().await?;
    let report = Report::read(&mut database, !arguments.quick).await?;
    let queues = Queues {
        uploads: dead_letters::depth(&clients.sqs, &environment.upload_queue_url).await?,
        dead_letters: dead_letters::depth(&clients.sqs, &environment.dead_letter_queue_url).await?,
    };
    if arguments.json {
        let json = StatusOutput { report: &report, reconciles: report.reconciles(), queues };
        let text = serde_json::to_string_pretty(&json).map_err(|error| {
            millrace::Error::new(millrace::Kind::Bug, "write the status as JSON").with_source(error)
        })?;
        terminal.line(&text);
    } else {
        let extent = TableExtent::of(arguments.wide);
        let mut is_cut = print_event_types(&report, extent, terminal);
        terminal.line("");
        if !report.models.is_empty() {
            is_cut |= print_models(&report.models, extent, terminal);
            terminal.line("");
        }
        if is_cut {
            terminal.hint("--wide shows every column");
            terminal.line("");
        }
        terminal.line(&format!(
            "queues      {} uploads waiting, {} dead letters",
            figure(queues.uploads),
            figure(queues.dead_letters)
        ));
        print_reconciliation(&report, terminal);
    }
    Ok(if report.reconciles() { CommandOutcome::Done } else { CommandOutcome::Bad })
}

/// One line for each source and event type. Returns whether something is not shown.
pub(super) fn print_event_types(report: &Report, extent: TableExtent, terminal: &mut Terminal) -> bool {
    const COLUMNS: [TableColumn; 16] = [
        TableColumn::text("source/event_type", 17),
        TableColumn::number("staged"),
        TableColumn::number("rejected"),
        TableColumn::number("failed"),
        TableColumn::number("waiting"),
        TableColumn::number("oldest"),
        TableColumn::number("quarantined"),
        TableColumn::number("transformed").optional(),
        TableColumn::number("unmodelled").optional(),
        TableColumn::number("repaired").optional(),
        TableColumn::number("lag p95").optional(),
        TableColumn::number("files").optional(),
        TableColumn::number("read").optional(),
        TableColumn::number("batches").optional(),
        TableColumn::number("rows/s 1 min").optional(),
        TableColumn::number("rows/s 1 h").optional(),
    ];
    if report.event_types.is_empty() {
        terminal.prose(
            "  ",
            "nothing loaded yet: put a CSV file under incoming/<source>/<event_type>/ in the bucket",
        );
        return false;
    }
    let rows: Vec<Vec<String>> = report
        .event_types
        .iter()
        .map(|counts| {
            let lag = |lag: &&Lag| lag.source == counts.source && lag.event_type == counts.event_type;
            let lag = report.lag.iter().find(lag).and_then(|lag| lag.transform_seconds_p95);
            vec![
                format!("{}/{}", counts.source, counts.event_type),
                figure(counts.staged),
                figure(counts.rejected),
                figure(counts.files_failed),
                figure(counts.unprocessed),
                or_dash(counts.oldest_unprocessed_seconds, age),
                figure(counts.quarantined),
                figure(counts.transformed),
                figure(counts.unmodelled),
                figure(counts.repaired),
                or_dash(lag, age),
                figure(counts.files),
                figure(counts.read),
                figure(counts.batches),
                format!("{:.0}", counts.rows_per_second_minute),
                format!("{:.0}", counts.rows_per_second_hour),
            ]
        })
        .collect();
    terminal.table(&COLUMNS, &rows, extent)
}

/// One line for each model: its last run, and since when it does not show every change.
fn print_models(models: &[ModelRun], extent: TableExtent, terminal: &mut Terminal) -> bool {
    const COLUMNS: [TableColumn; 10] = [
        TableColumn::text("model", 16),
        TableColumn::word("outcome"),
        TableColumn::number("ago"),
        TableColumn::number("rows"),
        TableColumn::number("stale"),
        TableColumn::text("reason", 20),
        TableColumn::number("quarantined").optional(),
        TableColumn::word("last run").optional(),
        TableColumn::word("kind").optional(),
        TableColumn::number("last ok").optional(),
    ];
    let rows: Vec<Vec<String>> = models
        .iter()
        .map(|run| {
            vec![
                run.model.clone(),
                run.outcome.clone().unwrap_or_else(|| "-".to_owned()),
                or_dash(run.finished_seconds, age),
                or_dash(run.rows, figure),
                or_dash(run.stale_seconds, age),
                run.detail.clone().unwrap_or_default(),
                or_dash(run.quarantined, figure),
                run.activity.clone().unwrap_or_else(|| "-".to_owned()),
                run.kind.clone(),
                or_dash(run.last_ok_seconds, age),
            ]
        })
        .collect();
    terminal.table(&COLUMNS, &rows, extent)
}

fn or_dash<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

/// Whether the counts reconcile, and which do not.
pub(super) fn print_reconciliation(report: &Report, terminal: &mut Terminal) {
    let sum = |count: fn(&EventType) -> i64| report.event_types.iter().map(count).sum::<i64>();
    let (read, staged, rejected) = (sum(|c| c.read), sum(|c| c.staged), sum(|c| c.rejected));
    if report.reconciles() {
        let rows = if report.rows_counted { " = rows in staging.events" } else { "" };
        let arrived = format!(
            "{} read = {} staged{rows} + {} rejected",
            figure(read),
            figure(staged),
            figure(rejected)
        );
        let processed = format!(
            "{} processed = {} transformed + {} quarantined + {} unmodelled",
            figure(sum(|c| c.processed)),
            figure(sum(|c| c.transformed)),
            figure(sum(|c| c.quarantined)),
            figure(sum(|c| c.unmodelled))
        );
        terminal.good_prose("reconciled  ", &arrived);
        terminal.good_prose("            ", &processed);
        return;
    }
    terminal.bad("The counts do not reconcile:");
    for discrepancy in &report.discrepancies {
        terminal.prose(
            "  ",
            &format!(
                "{}: {}: {} against {}",
                discrepancy.check,
                one_line(&discrepancy.origin, 120),
                figure(discrepancy.expected),
                figure(discrepancy.found)
            ),
        );
    }
}
