//! `millrace dev`: the local stack, until it is told to stop.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use millrace::Result;

use super::{Outcome, asked_to_stop, put};
use crate::checkout::Checkout;
use crate::loads::{self, EndedLoad};
use crate::stack::{Stack, Start};
use crate::terminal::{Terminal, seconds};

pub async fn run(checkout: &Checkout, terminal: &mut Terminal) -> Result<Outcome> {
    terminal.heading("Starting the local stack");
    let start = tokio::select! {
        start = Stack::start(checkout, "`millrace dev`", terminal) => start?,
        stop = asked_to_stop() => {
            stop?;
            terminal.line("");
            return Ok(Outcome::Done);
        }
    };
    let mut stack = match start {
        Start::Running(stack) => stack,
        Start::HeldBy(other) => {
            terminal.bad(&format!("The stack of this checkout is running already: {other}."));
            terminal.line("Load its variables with `set -a; . .millrace/env; set +a`.");
            return Ok(Outcome::Unable);
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
    Ok(Outcome::Done)
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

/// One line for each load that ends.
async fn watch(stack: &mut Stack, terminal: &mut Terminal) -> Result<()> {
    let client = loads::connect(&stack.environment.database_url, "millrace dev").await?;
    let began = SystemTime::now();
    let mut since = began;
    // What had ended before we looked is no news.
    let mut told: HashSet<_> =
        loads::ended_since(&client, since).await?.iter().map(|load| load.load_id).collect();
    loop {
        stack.check()?;
        for load in loads::ended_since(&client, since).await? {
            if told.insert(load.load_id) {
                tell(&load, terminal);
            }
            since = since.max(load.finished_at);
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
}

fn tell(ended: &EndedLoad, terminal: &mut Terminal) {
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
