//! `make bench`: compares Millrace with the alternative that a user would choose, in one run on this machine.
//!
//! Machines are noisy and differ, so the contenders run in turn, and the result is the ratio of their medians. No
//! benchmark asserts a time.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench that cannot go on stops, and its tables are for people"
)]

mod copy;
mod flights;
mod history;
mod memory;
mod rollup;
mod stack;
mod table;
mod transform;
mod webhooks;

use std::process::ExitCode;

const NAMES: [&str; 6] = ["csv", "history", "memory", "rollup", "transform", "webhooks"];

const HELP: &str = "\
Usage: make bench [BENCH='NAME …'] [ROUNDS=N]

  csv       CSV object to raw_events against psql's \\copy of the same rows already encoded
  webhooks  a durable row for each webhook, against pgbench's one-row transactions
  transform facts from 50,000 events/s, against a `processed` flag on every row; with a transaction held open
  rollup    a rollup after one percent of new facts, against computing all of it
  history   regular work with 10,000, 1,000,000 and 10,000,000 batches in the ledger (HISTORY='10000 1000000' for others)
  memory    peak memory of ingest-csv, from a small file to a large one

Without a name, all of them except history. Each round runs every contender once; 5 rounds unless ROUNDS says otherwise.";

#[tokio::main]
async fn main() -> ExitCode {
    // Cargo passes `--bench` to every benchmark.
    let names: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if names.iter().any(|name| matches!(name.as_str(), "-h" | "--help")) {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = names.iter().find(|name| !NAMES.contains(&name.as_str())) {
        eprintln!("there is no bench `{unknown}`\n\n{HELP}");
        return ExitCode::FAILURE;
    }
    let rounds = match std::env::var("ROUNDS").map(|text| text.parse::<usize>()) {
        Err(_) => 5,
        Ok(Ok(rounds)) if rounds > 0 => rounds,
        Ok(_) => {
            eprintln!("ROUNDS must be a number from 1 up");
            return ExitCode::FAILURE;
        }
    };
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    if wanted("csv") {
        copy::run(rounds).await;
    }
    if wanted("webhooks") {
        webhooks::run(rounds).await;
    }
    if wanted("transform") {
        transform::run(rounds).await;
    }
    if wanted("rollup") {
        rollup::run(rounds).await;
    }
    if wanted("memory") {
        memory::run().await;
    }
    // The largest history takes half an hour to make.
    if names.iter().any(|name| name == "history") {
        history::run(rounds).await;
    }
    ExitCode::SUCCESS
}
