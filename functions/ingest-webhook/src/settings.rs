//! What the environment says, read once. `docs/configuration.md` lists every variable.

use std::path::PathBuf;
use std::time::Duration;

use millrace::config::environment::{EnvironmentReader, Secret};
use millrace::dead_letter;

use crate::request::MAX_BODY_BYTES;
use crate::store::group::FlushBounds;

#[derive(Debug, Clone)]
pub struct Settings {
    pub database_url: Secret,
    pub dead_letters: dead_letter::Settings,
    /// The folder of `sources.toml`.
    pub pipeline: PathBuf,
    /// A larger body is refused with 413.
    pub max_body_bytes: usize,
    pub flush: FlushBounds,
    /// How long the database is tried before a delivery goes to the dead-letter queue instead.
    pub database_timeout: Duration,
    /// How long secrets are used before they are fetched again.
    pub secret_refresh: Duration,
}

impl Settings {
    /// Reads the variables through `env`.
    pub fn read(env: &mut EnvironmentReader<'_>) -> Self {
        let bounds = FlushBounds::default();
        Settings {
            database_url: env.database_url(),
            dead_letters: dead_letter::Settings::read(env),
            pipeline: env.pipeline(),
            max_body_bytes: env.size("MILLRACE_MAX_BODY_BYTES", MAX_BODY_BYTES, 1..=MAX_BODY_BYTES),
            flush: FlushBounds {
                events: env.number("MILLRACE_FLUSH_EVENTS", bounds.events, 1..=100_000),
                bytes: env.size("MILLRACE_FLUSH_BYTES", bounds.bytes, 1_024..=64 << 20),
            },
            database_timeout: env.duration(
                "MILLRACE_DATABASE_TIMEOUT",
                Duration::from_millis(2_500),
                Duration::from_millis(100)..=Duration::from_secs(25),
            ),
            secret_refresh: env.duration(
                "MILLRACE_SECRET_REFRESH",
                Duration::from_secs(300),
                Duration::from_secs(1)..=Duration::from_secs(86_400),
            ),
        }
    }
}
