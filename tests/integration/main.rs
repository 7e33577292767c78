//! Every integration test, in one binary.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, with the reason"
)]

mod cli;
mod ingest_csv;
mod schema;
mod staging;
mod webhook_content;
