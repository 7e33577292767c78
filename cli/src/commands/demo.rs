//! `millrace demo`: real files and signed webhooks all the way, and a look at what landed.

mod facts;
mod webhooks;

use std::path::Path;
use std::time::{Duration, Instant};

use millrace::dead_letter::{DeadLetter, DeadLetterReader, Payload};
use millrace::{Result, database};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::{CommandOutcome, asked_to_stop, put, status};
use crate::checkout::Checkout;
use crate::dead_letters::{self, ScanProgress};
use crate::environment::{Clients, Environment};
use crate::follow::{Followed, follow};
use crate::ledger::Report;
use crate::loads;
use crate::stack::{Stack, Start};
use crate::terminal::table::TableColumn;
use crate::terminal::{TableExtent, Terminal, bytes, figure, seconds};
use crate::upload::{UploadTarget, upload};

const SAMPLE_ROWS: &str = include_str!("../queries/sample_rows.sql");
const SOURCE: &str = "demo";
/// File under tests/data, and the event type that it is loaded as.
const FILES: [(&str, &str); 2] = [("airports.csv", "airports"), ("weather-with-errors.csv", "weather")];
/// Far more than either file takes on the slowest machine.
const TIMEOUT: Duration = Duration::from_secs(120);

pub async fn run(checkout: &Checkout, terminal: &mut Terminal) -> Result<CommandOutcome> {
    terminal.heading("Starting the local stack");
    let start = tokio::select! {
        start = Stack::start(checkout, "`millrace demo`", terminal) => start?,
        stop = asked_to_stop() => return interrupted(stop, terminal),
    };
    match start {
        Start::HeldBy(other) => {
            terminal.line(&format!("  One is running already ({other}); the demo uses it."));
            let environment = Environment::load(checkout)?;
            tokio::select! {
                shown = show(checkout, &environment, terminal) => shown,
                stop = asked_to_stop() => interrupted(stop, terminal),
            }
        }
        Start::Running(stack) => {
            let shown = tokio::select! {
                shown = show(checkout, &stack.environment, terminal) => shown,
                stop = asked_to_stop() => interrupted(stop, terminal),
            };
            terminal.heading("Done");
            stack.stop(terminal);
            if shown.as_ref().is_ok_and(|outcome| *outcome == CommandOutcome::Done) {
                terminal.line("\nNext: `make dev` keeps the stack up, to load files of your own.");
            }
            shown
        }
    }
}

fn interrupted(stop: Result<()>, terminal: &mut Terminal) -> Result<CommandOutcome> {
    stop?;
    terminal.line("\ninterrupted");
    Ok(CommandOutcome::Unable)
}

/// A file that went through.
struct Shown {
    event_type: &'static str,
    target: UploadTarget,
    version: String,
    good: bool,
}

async fn show(
    checkout: &Checkout,
    environment: &Environment,
    terminal: &mut Terminal,
) -> Result<CommandOutcome> {
    let clients = environment.clients().await?;
    let mut database = loads::connect(&environment.database_url, "millrace demo").await?;

    terminal.heading("Loading: S3 → SQS → ingest-csv → PostgreSQL");
    let mut files = Vec::new();
    for (name, event_type) in FILES {
        let path = checkout.root().join("tests/data").join(name);
        files.push(load(&path, name, event_type, environment, &clients, &database, terminal).await?);
    }

    terminal.heading("Webhooks: API Gateway → ingest-webhook → PostgreSQL");
    let webhooks_good = webhooks::show(checkout, environment, terminal).await?;

    let sampled = &files[0];
    terminal.heading(&format!("What landed: raw_events, three rows of {SOURCE}/{}", sampled.event_type));
    print_sample(&database, sampled.event_type, terminal).await?;

    terminal.heading("Facts: transform runs pipeline/models/*.sql over the unprocessed events");
    let facts_good = facts::show(environment, &database, terminal).await?;

    terminal.heading("Rejected records: the dead-letter queue");
    print_dead_letters(&clients, &environment.dead_letter_queue_url, &files, terminal).await?;

    terminal.heading("The ledger");
    let report = Report::read(&mut database, true).await?;
    status::print_event_types(&report, TableExtent::Terminal, terminal);
    terminal.line("");
    status::print_reconciliation(&report, terminal);
    let good = files.iter().all(|file| file.good) && webhooks_good && facts_good && report.reconciles();
    Ok(if good { CommandOutcome::Done } else { CommandOutcome::Bad })
}

async fn load(
    path: &Path,
    name: &str,
    event_type: &'static str,
    environment: &Environment,
    clients: &Clients,
    database: &Client,
    terminal: &mut Terminal,
) -> Result<Shown> {
    let target = UploadTarget {
        bucket: environment.bucket.clone(),
        key: format!("incoming/{SOURCE}/{event_type}/{name}"),
    };
    let began = Instant::now();
    let mut size = 0;
    let version = upload(&clients.s3, path, &target, |sent| size = sent).await?;
    terminal.line(&format!("  put    s3://…/{} ({})", target.key, bytes(size)));
    let queue = &environment.dead_letter_queue_url;
    let followed = follow(database, clients, queue, &target, &version, TIMEOUT, |_| {}).await?;
    let took = seconds(began.elapsed());
    let good = match followed {
        Followed::Ended(load, end) => {
            let text = format!("  {:<6} {} in {took}", end.outcome, put::counts(&load));
            terminal.status_line(end.is_good(), &text);
            if let Some(reason) = &end.reason {
                terminal.line(&format!("         {reason}"));
            }
            end.is_good()
        }
        Followed::DeadLettered(reason) => {
            terminal.bad(&format!("  failed {reason}"));
            false
        }
        Followed::TimedOut(_) => {
            terminal.bad(&format!("  not loaded after {took}: the function's log is in .millrace/aws/log"));
            false
        }
    };
    Ok(Shown { event_type, target, version, good })
}

async fn print_sample(database: &Client, event_type: &str, terminal: &mut Terminal) -> Result<()> {
    let rows = database
        .query_typed(SAMPLE_ROWS, &[(&SOURCE, Type::TEXT), (&event_type, Type::TEXT)])
        .await
        .map_err(|error| database::failure::from_postgres("read raw_events", error))?;
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| vec![row.get::<_, i64>("id").to_string(), row.get("payload")]).collect();
    let columns = [TableColumn::number("id"), TableColumn::text("payload", 20)];
    terminal.table(&columns, &rows, TableExtent::Terminal);
    Ok(())
}

/// The dead letters of these versions alone; earlier ones stay in the queue too.
async fn print_dead_letters(
    clients: &Clients,
    queue: &str,
    files: &[Shown],
    terminal: &mut Terminal,
) -> Result<()> {
    let reader = DeadLetterReader::new(clients.sqs.clone(), clients.objects.clone(), queue.to_owned());
    let mut in_queue = 0;
    let mut ours: Vec<DeadLetter> = Vec::new();
    dead_letters::each(&reader, &ScanProgress::hidden(), |entry| {
        in_queue += 1;
        ours.extend(entry.dead_letter.filter(|dead_letter| {
            files.iter().any(|file| {
                dead_letter.origin.key.as_deref() == Some(file.target.key.as_str())
                    && dead_letter.origin.version.as_deref() == Some(file.version.as_str())
            })
        }));
        Ok(true)
    })
    .await?;
    ours.sort_by_key(|dead_letter| (dead_letter.event_type.clone(), dead_letter.origin.line));
    let position = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), figure);
    let rows: Vec<Vec<String>> = ours
        .iter()
        .map(|dead_letter| {
            vec![
                dead_letter.event_type.clone().unwrap_or_default(),
                position(dead_letter.origin.line),
                dead_letter.reason.message.clone(),
                raw_text(&dead_letter.payload),
                position(dead_letter.origin.offset),
            ]
        })
        .collect();
    let columns = [
        TableColumn::word("event_type"),
        TableColumn::number("line"),
        TableColumn::text("reason", 20),
        TableColumn::text("raw text", 24),
        TableColumn::number("offset").optional(),
    ];
    terminal.table(&columns, &rows, TableExtent::Terminal);
    let older = in_queue - ours.len();
    if older > 0 {
        terminal.line(&format!("  and {} of earlier loads", figure(older as i64)));
    }
    Ok(())
}

fn raw_text(payload: &Payload) -> String {
    match payload {
        Payload::Json(serde_json::Value::String(text)) => text.clone(),
        Payload::Json(value) => value.to_string(),
        Payload::Base64 { base64 } => format!("base64 {base64}"),
        Payload::Pointer { pointer } => format!("in s3://{}/{}", pointer.bucket, pointer.key),
    }
}
