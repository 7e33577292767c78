//! Handles an invocation: reads the models, then transforms the unprocessed events.

use std::time::Instant;

use millrace::Result;
use millrace::aws::{ObjectClient, function_config, sqs_client};
use millrace::config::environment::ExposeSecret;
use millrace::database::{self, Connection};
use millrace::dead_letter::redrive::{RedriveRequest, RedriveResponse};
use millrace::dead_letter::{DeadLetter, DeadLetterQueue};
use millrace::metrics::{self, names};
use millrace_models::project::Project;
use millrace_models::redrive;
use millrace_models::transform::{self, TransformLimits, TransformSummary};
use serde::Serialize;
use serde_json::Value;
use tracing::info;
use uuid::Uuid;

use crate::Settings;

/// The response to Lambda.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum TransformReply {
    Transform(TransformSummary),
    /// The outcomes of redriven dead letters.
    Redrive(RedriveResponse),
}

pub struct Transform {
    settings: Settings,
    connection: Connection,
    dead_letter_queue: DeadLetterQueue,
}

impl Transform {
    /// Builds the clients. The first use opens the connection.
    pub async fn new(settings: Settings) -> Result<Self> {
        let database = database::Settings::parse(settings.database_url.expose_secret())?
            .application_name("millrace transform");
        let config = function_config();
        let dead_letter_queue = DeadLetterQueue::new(
            sqs_client(&config),
            ObjectClient::new(&config),
            settings.dead_letters.clone(),
        );
        Ok(Transform { settings, connection: Connection::new(database), dead_letter_queue })
    }

    /// Handles one invocation: redriven dead letters, or the unprocessed events.
    pub async fn handle(
        &mut self,
        event: &Value,
        request_id: &str,
        deadline: Instant,
    ) -> Result<TransformReply> {
        let run_id = Uuid::parse_str(request_id).unwrap_or_else(|_| Uuid::now_v7());
        match RedriveRequest::read(event) {
            Some(dead_letters) => {
                self.redrive(dead_letters?, run_id, deadline).await.map(TransformReply::Redrive)
            }
            None => self.transform(run_id, deadline).await.map(TransformReply::Transform),
        }
    }

    /// Redrives events, each through the current version of its model.
    async fn redrive(
        &mut self,
        dead_letters: Vec<DeadLetter>,
        run_id: Uuid,
        deadline: Instant,
    ) -> Result<RedriveResponse> {
        let started = Instant::now();
        let project = Project::load(&self.settings.pipeline)?;
        let work = redrive::redrive(&mut self.connection, &project, run_id, &dead_letters, deadline);
        let outcomes = Box::pin(work).await?;
        Ok(RedriveResponse::new(outcomes, started))
    }

    /// Transforms the unprocessed events.
    ///
    /// # Errors
    /// When events had to be left unprocessed. Everything else is done first. Lambda counts the error, so that an alarm
    /// can detect it.
    async fn transform(&mut self, run_id: Uuid, deadline: Instant) -> Result<TransformSummary> {
        let started = Instant::now();
        // The models are read on each invocation, because the local stack uses the working copy. Reading a few files is
        // fast.
        let project = Project::load(&self.settings.pipeline)?;
        let last_claim = deadline.checked_sub(self.settings.deadline_margin).unwrap_or_else(Instant::now);
        let limits = TransformLimits {
            bounds: self.settings.bounds,
            idle_poll: self.settings.idle_poll,
            last_claim,
            deadline,
        };
        let summary =
            transform::run(&mut self.connection, &project, &self.dead_letter_queue, run_id, limits).await?;
        metrics::add(names::ROUTES_WAITING, summary.waiting.len() as u64);
        info!(
            claim_count = summary.claims,
            event_count = summary.events,
            quarantined_count = summary.quarantined,
            waiting_count = summary.waiting.len(),
            duration_ms = started.elapsed().as_millis() as u64,
            "done"
        );
        match summary.failure() {
            Some(error) => Err(error),
            None => Ok(summary),
        }
    }
}
