//! What the environment says, read once. `docs/configuration.md` lists every variable.

use std::path::PathBuf;
use std::time::Duration;

use millrace::Result;
use millrace::config::environment::{Reader, Secret, read_environment};
use millrace::telemetry;

#[derive(Debug, Clone)]
pub struct Settings {
    pub database_url: Secret,
    /// The folder of `models/`.
    pub pipeline: PathBuf,
    pub telemetry: telemetry::Settings,
    /// How long a refresh waits for a lock that others hold.
    pub lock_timeout: Duration,
    /// How long before the invocation's deadline the last refresh begins.
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
            database_url: env.secret("DATABASE_URL"),
            pipeline: PathBuf::from(env.text("MILLRACE_PIPELINE", "/opt/pipeline")),
            telemetry: telemetry::Settings::read(env),
            lock_timeout: env.duration(
                "MILLRACE_LOCK_TIMEOUT",
                Duration::from_secs(5),
                Duration::from_millis(100)..=Duration::from_secs(300),
            ),
            deadline_margin: env.duration(
                "MILLRACE_DEADLINE_MARGIN",
                Duration::from_secs(20),
                Duration::from_millis(100)..=Duration::from_secs(300),
            ),
        }
    }
}
