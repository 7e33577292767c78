//! What the environment says, read once. `docs/configuration.md` lists every variable.

use std::path::PathBuf;
use std::time::Duration;

use millrace::config::environment::{EnvironmentReader, Secret};
use millrace::dead_letter;
use millrace_models::transform::ClaimBounds;

#[derive(Debug, Clone)]
pub struct Settings {
    pub database_url: Secret,
    pub dead_letters: dead_letter::Settings,
    /// The folder of `models/`.
    pub pipeline: PathBuf,
    pub bounds: ClaimBounds,
    /// Once nothing waits, an invocation goes on looking for so long.
    pub idle_poll: Duration,
    /// How long before the invocation's deadline the last claim begins.
    pub deadline_margin: Duration,
}

impl Settings {
    /// Reads the variables through `env`.
    pub fn read(env: &mut EnvironmentReader<'_>) -> Self {
        let bounds = ClaimBounds::default();
        Settings {
            database_url: env.database_url(),
            dead_letters: dead_letter::Settings::read(env),
            pipeline: env.pipeline(),
            bounds: ClaimBounds {
                events: env.number("MILLRACE_CLAIM_ROWS", bounds.events, 1..=1_000_000),
                bytes: env.size("MILLRACE_CLAIM_BYTES", bounds.bytes as usize, 1_024..=1 << 30) as i64,
            },
            idle_poll: env.duration(
                "MILLRACE_IDLE_POLL",
                Duration::ZERO,
                Duration::ZERO..=Duration::from_secs(900),
            ),
            deadline_margin: env.deadline_margin(Duration::from_secs(20), Duration::from_secs(300)),
        }
    }
}
