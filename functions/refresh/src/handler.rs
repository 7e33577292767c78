//! Handles an invocation: reads the models, then refreshes what was invalidated.

use std::time::Instant;

use millrace::Result;
use millrace::config::environment::ExposeSecret;
use millrace::database::{self, Connection};
use millrace::metrics::{self, names};
use millrace_models::project::Project;
use millrace_models::refresh::{self, RefreshLimits, RefreshSummary};
use tracing::info;
use uuid::Uuid;

use crate::Settings;

pub struct Refresh {
    settings: Settings,
    connection: Connection,
}

impl Refresh {
    /// Builds the clients. The first use opens the connection.
    pub fn new(settings: Settings) -> Result<Self> {
        let database = database::Settings::parse(settings.database_url.expose_secret())?
            .application_name("millrace refresh");
        Ok(Refresh { settings, connection: Connection::new(database) })
    }

    /// Refreshes everything that was invalidated.
    ///
    /// # Errors
    /// When something could not be refreshed. Everything else is refreshed first. Lambda counts the error, so that an
    /// alarm can detect it.
    pub async fn handle(&mut self, request_id: &str, deadline: Instant) -> Result<RefreshSummary> {
        let started = Instant::now();
        let run_id = Uuid::parse_str(request_id).unwrap_or_else(|_| Uuid::now_v7());
        // The models are read on each invocation, because the local stack uses the working copy. Reading a few files is
        // fast.
        let project = Project::load(&self.settings.pipeline)?;
        let last_start = deadline.checked_sub(self.settings.deadline_margin).unwrap_or_else(Instant::now);
        let limits = RefreshLimits { lock_timeout: self.settings.lock_timeout, last_start, deadline };
        let summary = refresh::run(&mut self.connection, &project, run_id, limits).await?;
        metrics::add(names::VIEWS_REFRESHED, summary.refreshed.len() as u64);
        metrics::add(names::VIEWS_SKIPPED, summary.skipped.len() as u64);
        metrics::add(names::VIEWS_FAILED, summary.failed.len() as u64);
        info!(
            refreshed_count = summary.refreshed.len(),
            unchanged_count = summary.unchanged.len(),
            skipped_count = summary.skipped.len(),
            failed_count = summary.failed.len(),
            duration_ms = started.elapsed().as_millis() as u64,
            "done"
        );
        match summary.failure() {
            Some(error) => Err(error),
            None => Ok(summary),
        }
    }
}
