//! What the environment says, read once. `docs/configuration.md` lists every variable.

use std::path::PathBuf;
use std::time::Duration;

use millrace::batch::BatchBounds;
use millrace::config::environment::{EnvironmentReader, Secret};
use millrace::dead_letter;

use millrace_csv::CsvLimits;

#[derive(Debug, Clone)]
pub struct Settings {
    pub database_url: Secret,
    pub dead_letters: dead_letter::Settings,
    /// Where a continuation goes.
    pub upload_queue_url: String,
    /// The folder of `sources.toml`.
    pub pipeline: PathBuf,
    pub bounds: BatchBounds,
    pub copy_connections: usize,
    /// How long the database may send nothing inside a transaction before the transaction is retried.
    pub stall_timeout: Duration,
    pub limits: CsvLimits,
    /// How long the message of a file stays hidden when the function is killed.
    pub message_visibility: Duration,
    /// How long before the invocation's deadline reading stops, so that what is under way can commit.
    pub deadline_margin: Duration,
}

impl Settings {
    /// Reads the variables through `env`.
    pub fn read(env: &mut EnvironmentReader<'_>) -> Self {
        let mut limits = CsvLimits::default();
        limits.max_record_bytes =
            env.size("MILLRACE_MAX_RECORD_BYTES", limits.max_record_bytes, 1_024..=64 << 20);
        limits.max_field_bytes = env.size("MILLRACE_MAX_FIELD_BYTES", limits.max_field_bytes, 1..=64 << 20);
        limits.max_columns = env.number("MILLRACE_MAX_COLUMNS", limits.max_columns, 1..=20_000);
        limits.decode.max_decompressed_bytes = env.bytes(
            "MILLRACE_MAX_DECOMPRESSED_BYTES",
            limits.decode.max_decompressed_bytes,
            1 << 20..=1 << 50,
        );
        limits.decode.max_ratio =
            env.number("MILLRACE_MAX_COMPRESSION_RATIO", limits.decode.max_ratio, 1..=100_000);
        Settings {
            database_url: env.database_url(),
            dead_letters: dead_letter::Settings::read(env),
            upload_queue_url: env.required("MILLRACE_UPLOAD_QUEUE_URL"),
            pipeline: env.pipeline(),
            bounds: BatchBounds {
                rows: env.number("MILLRACE_CHUNK_ROWS", BatchBounds::default().rows, 1..=1_000_000),
                bytes: env.size("MILLRACE_CHUNK_BYTES", BatchBounds::default().bytes, 1_024..=64 << 20),
            },
            copy_connections: env.number("MILLRACE_COPY_CONNECTIONS", 2, 1..=16),
            stall_timeout: env.duration(
                "MILLRACE_DATABASE_STALL_TIMEOUT",
                Duration::from_secs(15),
                Duration::from_millis(500)..=Duration::from_secs(300),
            ),
            limits,
            message_visibility: env.duration(
                "MILLRACE_MESSAGE_VISIBILITY",
                Duration::from_secs(24),
                Duration::from_secs(1)..=Duration::from_secs(3_600),
            ),
            deadline_margin: env.deadline_margin(Duration::from_secs(20), Duration::from_secs(300)),
        }
    }
}
