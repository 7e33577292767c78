//! All integration tests, in one binary.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, with the reason"
)]

mod canaries;
mod cli;
mod dbt;
mod dead_letters;
mod defaults;
mod doctor;
mod failpoints;
mod faults;
mod ingest_csv;
mod logs;
mod metrics;
mod models;
mod models_commands;
mod models_doc;
mod models_schema;
mod operations;
mod raw_events;
mod redrive;
mod schema;
mod stack;
mod staging;
mod status;
mod tls;
mod transform;
mod tutorial;
mod webhook;
mod webhook_commands;
mod webhook_content;
mod webhook_secrets;
