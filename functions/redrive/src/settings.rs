//! What the environment says, read once. `docs/configuration.md` lists every variable.

use std::path::PathBuf;
use std::time::Duration;

use millrace::config::environment::EnvironmentReader;
use millrace::dead_letter;

#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder of `sources.toml`.
    pub pipeline: PathBuf,
    pub dead_letters: dead_letter::Settings,
    /// The queue to which files are redriven.
    pub upload_queue_url: String,
    /// The names of the functions that are redrive targets.
    pub ingest_csv: String,
    pub ingest_webhook: String,
    pub transform: String,
    /// Dead letters per second, unless a request sets another rate.
    pub rate: u32,
    /// How long before the invocation's deadline the last dead letters are received.
    pub deadline_margin: Duration,
}

impl Settings {
    /// Reads the variables through `env`.
    pub fn read(env: &mut EnvironmentReader<'_>) -> Self {
        Settings {
            pipeline: env.pipeline(),
            dead_letters: dead_letter::Settings::read(env),
            upload_queue_url: env.required("MILLRACE_UPLOAD_QUEUE_URL"),
            ingest_csv: env.required("MILLRACE_INGEST_CSV_FUNCTION"),
            ingest_webhook: env.required("MILLRACE_INGEST_WEBHOOK_FUNCTION"),
            transform: env.required("MILLRACE_TRANSFORM_FUNCTION"),
            rate: env.number("MILLRACE_REDRIVE_RATE", 200, 1..=100_000),
            deadline_margin: env.deadline_margin(Duration::from_secs(60), Duration::from_secs(600)),
        }
    }
}
