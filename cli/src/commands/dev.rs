//! `millrace dev`: the local stack, until it is told to stop.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use millrace::Result;
use tokio_postgres::Client;

use super::{CommandOutcome, asked_to_stop, put};
use crate::checkout::Checkout;
use crate::loads::{self, EndedLoad};
use crate::stack::{Stack, Start};
use crate::terminal::{Terminal, seconds};

pub async fn run(checkout: &Checkout, terminal: &mut Terminal) -> Result<CommandOutcome> {
    terminal.heading("Starting the local stack");
    let start = tokio::select! {
        start = Stack::start(checkout, "`millrace dev`", terminal) => start?,
        stop = asked_to_stop() => {
            stop?;
            terminal.line("");
            return Ok(CommandOutcome::Done);
        }
    };
    let mut stack = match start {
        Start::Running(stack) => stack,
        Start::HeldBy(other) => {
            terminal.bad(&format!("The stack of this checkout is already running: {other}."));
            terminal.line("Load its variables with `set -a; . .millrace/env; set +a`.");
            return Ok(CommandOutcome::Unable);
        }
    };
    greet(&stack, terminal);
    let watched = tokio::select! {
        watched = watch(&mut stack, terminal) => watched,
        stop = asked_to_stop() => stop,
    };
    terminal.line("");
    stack.stop(terminal);
    watched?;
    Ok(CommandOutcome::Done)
}

fn greet(stack: &Stack, terminal: &mut Terminal) {
    terminal.heading("Ready. Ctrl-C stops the stack. The data is there again when it is next started.");
    terminal.line("  In another terminal, in this folder:");
    for command in [
        "set -a; . .millrace/env; set +a",
        "target/debug/millrace put tests/data/airports.csv --source nyc --event-type airports",
        "target/debug/millrace send github tests/data/webhooks/github-push.json --event-type push",
        "psql \"$DATABASE_URL\" -c 'select * from raw_events limit 3'",
    ] {
        terminal.command("    ", command);
    }
    terminal.line("  With any AWS client, put CSV files in");
    terminal.line(&format!("    s3://{}/incoming/<source>/<event_type>/", stack.environment.bucket));
    if let Some(webhooks) = &stack.environment.webhooks {
        terminal.line(&format!("  Post webhooks to {}/<source>, with the header", webhooks.url));
        terminal.line(&format!("    Host: {}", webhooks.host.as_deref().unwrap_or_default()));
    }
    terminal.heading("Loads");
}

/// Prints one line for each load that ends. While the database is unavailable, it waits, and starts the stack's own server
/// again if that has ended.
async fn watch(stack: &mut Stack, terminal: &mut Terminal) -> Result<()> {
    let mut printed = HashSet::new();
    let mut since = SystemTime::now();
    // Loads that had ended before are not printed.
    let client = loads::connect(&stack.environment.database_url, "millrace dev").await?;
    printed.extend(loads::ended_since(&client, since).await?.iter().map(|load| load.load_id));
    let mut client = Some(client);
    let mut problem = None;
    loop {
        stack.check()?;
        match poll(stack, &mut client, since).await {
            Ok(ended) => {
                if problem.take().is_some() {
                    terminal.line("  database   available again");
                }
                for load in ended {
                    since = since.max(load.finished_at);
                    if printed.insert(load.load_id) {
                        print_load(&load, terminal);
                    }
                }
            }
            Err(error) => {
                client = None;
                let error = error.chain();
                if problem.as_ref() != Some(&error) {
                    terminal.bad(&format!("  database   unavailable, waiting for it: {error}"));
                }
                problem = Some(error);
            }
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
}

/// The loads that ended since `since`, over `client` or a new connection.
async fn poll(stack: &mut Stack, client: &mut Option<Client>, since: SystemTime) -> Result<Vec<EndedLoad>> {
    let client = match client {
        Some(client) => client,
        None => {
            stack.restart_database()?;
            client.insert(loads::connect(&stack.environment.database_url, "millrace dev").await?)
        }
    };
    loads::ended_since(client, since).await
}

fn print_load(ended: &EndedLoad, terminal: &mut Terminal) {
    let Some(end) = &ended.load.end else {
        return;
    };
    let text = format!(
        "  {:<10} {}/{}  {} in {}  {}",
        end.outcome,
        ended.source,
        ended.event_type,
        put::counts(&ended.load),
        seconds(ended.took),
        ended.object,
    );
    terminal.status_line(end.is_good(), &text);
    if let Some(reason) = &end.reason {
        terminal.line(&format!("             {reason}"));
    }
}
