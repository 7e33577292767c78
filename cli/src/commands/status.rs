//! `millrace status`

use millrace::Result;
use serde::Serialize;

use super::Outcome;
use crate::arguments::Status;
use crate::checkout::Checkout;
use crate::environment::Environment;
use crate::lag::Lag;
use crate::ledger::{EventType, Report};
use crate::model_runs::ModelRun;
use crate::terminal::{Align, Terminal, age, figure, one_line};
use crate::{dead_letters, loads};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Json<'a> {
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

pub async fn run(arguments: &Status, checkout: &Checkout, terminal: &mut Terminal) -> Result<Outcome> {
    let environment = Environment::load(checkout)?;
    let mut database = loads::connect(&environment.database_url, "millrace status").await?;
    let clients = environment.clients().await?;
    let report = Report::read(&mut database, !arguments.quick).await?;
    let queues = Queues {
        uploads: dead_letters::depth(&clients.sqs, &environment.upload_queue_url).await?,
        dead_letters: dead_letters::depth(&clients.sqs, &environment.dead_letter_queue_url).await?,
    };
    if arguments.json {
        let json = Json { report: &report, reconciles: report.reconciles(), queues };
        let text = serde_json::to_string_pretty(&json).map_err(|error| {
            millrace::Error::new(millrace::Kind::Bug, "write the status as JSON").with_source(error)
        })?;
        terminal.line(&text);
    } else {
        print_event_types(&report, terminal);
        terminal.line("");
        if !report.models.is_empty() {
            print_models(&report.models, terminal);
            terminal.line("");
        }
        terminal.line(&format!(
            "queues      {} uploads waiting, {} dead letters",
            figure(queues.uploads),
            figure(queues.dead_letters)
        ));
        print_reconciliation(&report, terminal);
    }
    Ok(if report.reconciles() { Outcome::Done } else { Outcome::Bad })
}

/// One line a source and event type.
pub(super) fn print_event_types(report: &Report, terminal: &mut Terminal) {
    if report.event_types.is_empty() {
        terminal
            .line("  nothing loaded yet: put a CSV file under incoming/<source>/<event_type>/ in the bucket");
        return;
    }
    use Align::{Left, Right};
    let columns = [
        ("source/event_type", Left),
        ("files", Right),
        ("failed", Right),
        ("batches", Right),
        ("read", Right),
        ("staged", Right),
        ("rejected", Right),
        ("repaired", Right),
        ("unprocessed", Right),
        ("transformed", Right),
        ("quarantined", Right),
        ("unmodelled", Right),
        ("oldest", Right),
        ("lag p95", Right),
        ("rows/s 1 min", Right),
        ("1 h", Right),
    ];
    let rows: Vec<Vec<String>> = report
        .event_types
        .iter()
        .map(|counts| {
            let lag = |lag: &&Lag| lag.source == counts.source && lag.event_type == counts.event_type;
            let lag = report.lag.iter().find(lag).and_then(|lag| lag.transform_seconds_p95);
            vec![
                one_line(&format!("{}/{}", counts.source, counts.event_type), 40),
                figure(counts.files),
                figure(counts.files_failed),
                figure(counts.batches),
                figure(counts.read),
                figure(counts.staged),
                figure(counts.rejected),
                figure(counts.repaired),
                figure(counts.unprocessed),
                figure(counts.transformed),
                figure(counts.quarantined),
                figure(counts.unmodelled),
                or_dash(counts.oldest_unprocessed_seconds, age),
                or_dash(lag, age),
                format!("{:.0}", counts.rows_per_second_minute),
                format!("{:.0}", counts.rows_per_second_hour),
            ]
        })
        .collect();
    terminal.table(&columns, &rows);
}

/// One line a model: its last run, and since when it does not show every change.
fn print_models(models: &[ModelRun], terminal: &mut Terminal) {
    use Align::{Left, Right};
    let columns = [
        ("model", Left),
        ("kind", Left),
        ("last run", Left),
        ("ago", Right),
        ("outcome", Left),
        ("rows", Right),
        ("quarantined", Right),
        ("last ok", Right),
        ("stale", Right),
        ("", Left),
    ];
    let rows: Vec<Vec<String>> = models
        .iter()
        .map(|run| {
            vec![
                one_line(&run.model, 50),
                run.kind.clone(),
                run.activity.clone().unwrap_or_else(|| "-".to_owned()),
                or_dash(run.finished_seconds, age),
                run.outcome.clone().unwrap_or_else(|| "-".to_owned()),
                or_dash(run.rows, figure),
                or_dash(run.quarantined, figure),
                or_dash(run.last_ok_seconds, age),
                or_dash(run.stale_seconds, age),
                run.detail.as_deref().map_or_else(String::new, |detail| one_line(detail, 60)),
            ]
        })
        .collect();
    terminal.table(&columns, &rows);
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
        terminal.good(&format!(
            "reconciled  {} read = {} staged{rows} + {} rejected",
            figure(read),
            figure(staged),
            figure(rejected)
        ));
        terminal.good(&format!(
            "            {} processed = {} transformed + {} quarantined + {} unmodelled",
            figure(sum(|c| c.processed)),
            figure(sum(|c| c.transformed)),
            figure(sum(|c| c.quarantined)),
            figure(sum(|c| c.unmodelled))
        ));
        return;
    }
    terminal.bad("The counts do not reconcile:");
    for discrepancy in &report.discrepancies {
        terminal.line(&format!(
            "  {}: {}: {} against {}",
            discrepancy.check,
            one_line(&discrepancy.origin, 120),
            figure(discrepancy.expected),
            figure(discrepancy.found)
        ));
    }
}
