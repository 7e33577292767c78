//! What the environment says, read once. `docs/configuration.md` lists every variable.

use std::time::Duration;

use millrace::Result;
use millrace::config::environment::{Reader, read_environment};
use millrace::telemetry;

#[derive(Debug, Clone)]
pub struct Settings {
    /// Holds dead letters that are over the queue's limit, and the archive.
    pub bucket: String,
    pub dead_letter_queue_url: String,
    /// Where files go back to.
    pub upload_queue_url: String,
    /// The names of the functions that take back what they sent.
    pub ingest_csv: String,
    pub ingest_webhook: String,
    pub transform: String,
    pub telemetry: telemetry::Settings,
    /// Dead letters a second, unless a request says otherwise.
    pub rate: u32,
    /// What one SQS message may weigh, in bytes.
    pub message_bytes: usize,
    /// How long before the invocation's deadline the last dead letters are taken.
    pub deadline_margin: Duration,
}

impl Settings {
    /// Reads this process's environment.
    ///
    /// # Errors
    /// Names every variable that is missing or wrong, at once.
    pub fn from_environment() -> Result<Self> {
        read_environment(Self::read)
    }

    /// Reads the variables through `env`.
    pub fn read(env: &mut Reader<'_>) -> Self {
        Settings {
            bucket: env.required("MILLRACE_BUCKET"),
            dead_letter_queue_url: env.required("MILLRACE_DEAD_LETTER_QUEUE_URL"),
            upload_queue_url: env.required("MILLRACE_UPLOAD_QUEUE_URL"),
            ingest_csv: env.required("MILLRACE_INGEST_CSV_FUNCTION"),
            ingest_webhook: env.required("MILLRACE_INGEST_WEBHOOK_FUNCTION"),
            transform: env.required("MILLRACE_TRANSFORM_FUNCTION"),
            telemetry: telemetry::Settings::read(env),
            rate: env.number("MILLRACE_REDRIVE_RATE", 200, 1..=100_000),
            message_bytes: env.size("MILLRACE_MESSAGE_BYTES", 1 << 20, 1_024..=1 << 20),
            deadline_margin: env.duration(
                "MILLRACE_DEADLINE_MARGIN",
                Duration::from_secs(60),
                Duration::from_millis(100)..=Duration::from_secs(600),
            ),
        }
    }
}
