//! What the environment says, read once. `docs/configuration.md` lists every variable.

use std::path::PathBuf;
use std::time::Duration;

use millrace::config::environment::{EnvironmentReader, Secret};

#[derive(Debug, Clone)]
pub struct Settings {
    pub database_url: Secret,
    /// The folder of `models/`.
    pub pipeline: PathBuf,
    /// How long a refresh waits for a lock that others hold.
    pub lock_timeout: Duration,
    /// How long before the invocation's deadline the last refresh begins.
    pub deadline_margin: Duration,
}

impl Settings {
    /// Reads the variables through `env`.
    pub fn read(env: &mut EnvironmentReader<'_>) -> Self {
        Settings {
            database_url: env.database_url(),
            pipeline: env.pipeline(),
            lock_timeout: env.duration(
                "MILLRACE_LOCK_TIMEOUT",
                Duration::from_secs(5),
                Duration::from_millis(100)..=Duration::from_secs(300),
            ),
            deadline_margin: env.deadline_margin(Duration::from_secs(20), Duration::from_secs(300)),
        }
    }
}
