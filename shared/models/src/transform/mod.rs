//! From raw events to facts. One transaction claims batches, runs every model in order, and stores the counts and the mark that the
//! batches are processed.
//!
//! - [`routes`]: the sources and event types with unprocessed events.
//! - [`version`]: the version of the set of models.
//! - [`claim`]: one transaction.
//! - `report`: the log line and the metrics of a claim.
//! - [`retract`]: deletes the facts of replaced files.
//!
//! Transforms may run concurrently. A claim locks its batches, so that the others skip them. Facts are written in the order of their
//! keys. Of two events with one key the same one wins, in whatever order they are claimed.

mod bounds;
pub mod claim;
mod report;
pub mod retract;
pub mod routes;
pub mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use millrace::database::Connection;
use millrace::dead_letter::DeadLetterQueue;
use millrace::{Code, Error, Kind, Result};
use serde::Serialize;
use tracing::error;
use uuid::Uuid;

use crate::deploy;
use crate::model::EventRoute;
use crate::project::Project;
use crate::runs::{RunActivity, RunOutcome, RunRecord};
pub use bounds::ClaimBounds;
use claim::{Claim, Claimed};

/// The limits of a run.
#[derive(Debug, Clone, Copy)]
pub struct TransformLimits {
    pub bounds: ClaimBounds,
    /// How long the run keeps polling when no events wait.
    pub idle_poll: Duration,
    /// No claim begins after this time.
    pub last_claim: Instant,
    /// A claim that runs at this time is cancelled.
    pub deadline: Instant,
}

/// The interval of polls when no events wait.
const POLL: Duration = Duration::from_millis(100);
/// The maximum number of consecutive claims of one route.
const TURN: usize = 8;

/// The result of a run.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct TransformSummary {
    pub claims: u64,
    pub batches: u64,
    pub events: u64,
    pub quarantined: u64,
    pub unmodelled: u64,
    /// Batches of replaced files whose facts were retracted.
    pub retracted: u64,
    /// Rows of facts written, by model.
    pub rows: BTreeMap<String, u64>,
    /// Routes whose events wait, with the reason.
    pub waiting: BTreeSet<WaitingRoute>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct WaitingRoute {
    pub source: String,
    pub event_type: String,
    pub reason: String,
}

impl TransformSummary {
    fn add(&mut self, claimed: &Claimed) {
        self.claims += 1;
        self.batches += claimed.batches;
        self.events += claimed.events;
        self.quarantined += claimed.quarantined;
        self.unmodelled += claimed.unmodelled;
        for (model, rows) in &claimed.rows {
            *self.rows.entry(model.clone()).or_default() += rows;
        }
    }

    /// The reasons why events wait, as one error.
    pub fn failure(&self) -> Option<Error> {
        let reasons: BTreeSet<&str> = self.waiting.iter().map(|waiting| waiting.reason.as_str()).collect();
        if reasons.is_empty() {
            return None;
        }
        let reasons = reasons.into_iter().collect::<Vec<_>>().join("; ");
        Some(Error::new(Kind::Config, format!("events wait: {reasons}")).with_code(Code::EventsWait))
    }
}

/// Transforms unprocessed events until there are none or the time limit is reached.
///
/// # Errors
/// When the database or the dead-letter queue cannot be reached. A model that fails is not an error of the run: its events wait,
/// and [`TransformSummary::waiting`] has the reason.
pub async fn run(
    connection: &mut Connection,
    project: &Project,
    dead_letter_queue: &DeadLetterQueue,
    run_id: Uuid,
    limits: TransformLimits,
) -> Result<TransformSummary> {
    let deployment = Box::pin(deploy::deploy(connection, project, limits.deadline)).await?;
    let version = version::ensure(connection, project, limits.deadline).await?;
    let run = RunRecord { run_id, activity: RunActivity::Transform };
    for (model, error) in &deployment.stopped {
        run.record(connection, model, RunOutcome::Failed, &error.chain(), limits.deadline).await?;
    }
    let claim =
        Claim { project, deployment: &deployment, version, dead_letter_queue, run, bounds: limits.bounds };
    let (summary, failed) = (TransformSummary::default(), BTreeSet::new());
    TransformRun { connection, claim, limits, summary, failed }.until_nothing_waits().await
}

/// A run.
struct TransformRun<'r> {
    connection: &'r mut Connection,
    claim: Claim<'r>,
    limits: TransformLimits,
    summary: TransformSummary,
    /// Routes whose models failed in this run. They are not retried in this run.
    failed: BTreeSet<(String, String)>,
}

impl TransformRun<'_> {
    async fn until_nothing_waits(mut self) -> Result<TransformSummary> {
        let mut last_found = Instant::now();
        loop {
            let found = self.round().await?;
            let now = Instant::now();
            if found {
                last_found = now;
            }
            if now >= self.limits.last_claim || (!found && now >= last_found + self.limits.idle_poll) {
                return Ok(self.summary);
            }
            if !found {
                tokio::time::sleep(POLL).await;
            }
        }
    }

    /// Gives every route with unprocessed events a turn. Returns whether anything was done.
    async fn round(&mut self) -> Result<bool> {
        let mut found = false;
        for (source, event_type) in routes::superseded(self.connection, self.limits.deadline).await? {
            if self.is_over() {
                break;
            }
            if self.is_open(&source, &event_type) {
                let retracted = self.retract(&source, &event_type).await;
                found |= self.handle_result(&source, &event_type, retracted).await?;
            }
        }
        for (source, event_type) in routes::unprocessed(self.connection, self.limits.deadline).await? {
            if self.is_open(&source, &event_type) {
                let claimed = self.claim_turn(&source, &event_type).await;
                found |= self.handle_result(&source, &event_type, claimed).await?;
            }
        }
        Ok(found)
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.limits.last_claim
    }

    /// Whether the models of a route are deployed. Otherwise its events wait.
    fn is_open(&mut self, source: &str, event_type: &str) -> bool {
        if self.failed.contains(&(source.to_owned(), event_type.to_owned())) {
            return false;
        }
        let reason = self.claim.deployment.why_waits(self.claim.project, source, event_type);
        let Some(reason) = reason else { return true };
        self.wait(source, event_type, reason);
        false
    }

    async fn retract(&mut self, source: &str, event_type: &str) -> Result<bool> {
        let retract =
            retract::retract(self.connection, &self.claim, source, event_type, self.limits.deadline);
        let retracted = Box::pin(retract).await?;
        self.summary.retracted += retracted;
        Ok(retracted > 0)
    }

    /// Claims from one route until it has no unprocessed batches, its turn ends or the time limit is reached. Returns whether anything
    /// was claimed.
    async fn claim_turn(&mut self, source: &str, event_type: &str) -> Result<bool> {
        let route = EventRoute { source: source.to_owned(), event_type: Some(event_type.to_owned()) };
        // Begin after the last claim, to avoid scanning processed batches again. The next round begins at the oldest batch and finds
        // batches that committed late.
        let mut since = SystemTime::UNIX_EPOCH;
        let mut found = false;
        for _ in 0..TURN {
            if self.is_over() {
                break;
            }
            let started = Instant::now();
            // Boxed, because the nested futures of a claim exceed the recursion limit of the compiler.
            let claim = self.claim.run(self.connection, &route, since, self.limits.deadline);
            let Some(claimed) = Box::pin(claim).await? else { break };
            claimed.report(self.claim.project, &route, started.elapsed());
            since = claimed.last_received_at;
            self.summary.add(&claimed);
            found = true;
        }
        Ok(found)
    }

    /// What was done on a route, or that its models failed: then its events wait, and the other routes go on.
    async fn handle_result(&mut self, source: &str, event_type: &str, done: Result<bool>) -> Result<bool> {
        let error = match done {
            Ok(found) => return Ok(found),
            // A temporary failure affects every route.
            Err(error) if error.kind().is_temporary() => return Err(error),
            Err(error) => error,
        };
        let reason = error.chain();
        error!(source, event_type, error = reason, "events wait");
        let Claim { project, run, .. } = self.claim;
        for model in project.facts_for(source, event_type) {
            run.record(self.connection, &model.name, RunOutcome::Failed, &reason, self.limits.deadline)
                .await?;
        }
        self.wait(source, event_type, reason);
        Ok(false)
    }

    fn wait(&mut self, source: &str, event_type: &str, reason: String) {
        let (source, event_type) = (source.to_owned(), event_type.to_owned());
        self.failed.insert((source.clone(), event_type.clone()));
        self.summary.waiting.insert(WaitingRoute { source, event_type, reason });
    }
}
