//! Logs: one JSON object a line, on standard output, where Lambda collects them.
//!
//! Log once, at the boundary, with stable field names, and never a payload, a secret or a connection string.

use tracing_subscriber::EnvFilter;

/// Starts the JSON logs at `level`: `error`, `warn`, `info`, `debug`, `trace`, or a full filter such as `info,ingest_csv=debug`.
/// A second call changes nothing, so that tests may call it freely.
pub fn init(level: &str) {
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let started = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_env_filter(filter)
        .try_init();
    if started.is_err() {
        tracing::debug!("logs were started before");
    }
}
