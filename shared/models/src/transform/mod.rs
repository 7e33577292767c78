//! From raw events to facts: claim, every model in order, counts and the mark that says so, one commit.
//!
//! - [`routes`]: which events wait.
//! - [`version`]: which set of models this is.
//! - [`claim`]: the batches of one transaction.
//! - [`dead_letters`]: the events that a model cannot take.
//! - `report`: what is logged of a claim.
//! - [`retract`]: taking back the facts of files that were replaced.
//!
//! Several transforms may run at once. A claim locks its batches, so that the others skip them; facts are written in the
//! order of their keys; whatever the order of claims, of two events with one key the same one wins.

mod bounds;
pub mod claim;
pub mod dead_letters;
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
use crate::model::Route;
use crate::project::Project;
use crate::runs::{self, Activity, RunOutcome};
pub use bounds::Bounds;
use claim::{Claim, Claimed};

/// How a run ends.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub bounds: Bounds,
    /// Once nothing waits, it goes on looking for so long.
    pub idle_poll: Duration,
    /// No claim begins after this.
    pub last_claim: Instant,
    /// What is under way is given up then.
    pub deadline: Instant,
}

/// While nothing waits, how often to look.
const POLL: Duration = Duration::from_millis(100);
/// So many claims of one route, then the others have their turn.
const TURN: usize = 8;

/// What a run did.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct Summary {
    pub claims: u64,
    pub batches: u64,
    pub events: u64,
    pub quarantined: u64,
    pub unmodelled: u64,
    /// Batches of replaced files whose facts were taken back.
    pub retracted: u64,
    /// Rows of facts written, by model.
    pub rows: BTreeMap<String, u64>,
    /// Events that were left, and why.
    pub waiting: BTreeSet<Waiting>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Waiting {
    pub source: String,
    pub event_type: String,
    pub reason: String,
}

impl Summary {
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

    /// What kept events from being transformed, as one error.
    pub fn failure(&self) -> Option<Error> {
        let reasons: BTreeSet<&str> = self.waiting.iter().map(|waiting| waiting.reason.as_str()).collect();
        if reasons.is_empty() {
            return None;
        }
        let reasons = reasons.into_iter().collect::<Vec<_>>().join("; ");
        Some(Error::new(Kind::Config, format!("events wait: {reasons}")).with_code(Code::EventsWait))
    }
}

/// Transforms what waits, until nothing does or time is up.
///
/// # Errors
/// When the database or the dead-letter queue cannot be reached. A model that fails is no error of the run: its events
/// wait, and [`Summary::waiting`] says why.
pub async fn run(
    connection: &mut Connection,
    project: &Project,
    dead_letter_queue: &DeadLetterQueue,
    run_id: Uuid,
    limits: Limits,
) -> Result<Summary> {
    let deployment = Box::pin(deploy::deploy(connection, project, limits.deadline)).await?;
    let version = version::ensure(connection, project, limits.deadline).await?;
    let claim =
        Claim { project, deployment: &deployment, version, dead_letter_queue, run_id, bounds: limits.bounds };
    for (model, error) in &deployment.stopped {
        record_failed(connection, run_id, model, &error.chain(), limits.deadline).await?;
    }
    let run = Run { connection, claim, limits, summary: Summary::default(), failed: BTreeSet::new() };
    run.until_nothing_waits().await
}

/// A run under way.
struct Run<'r> {
    connection: &'r mut Connection,
    claim: Claim<'r>,
    limits: Limits,
    summary: Summary,
    /// Routes whose models failed in this run: another try would fail as well.
    failed: BTreeSet<(String, String)>,
}

impl Run<'_> {
    async fn until_nothing_waits(mut self) -> Result<Summary> {
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

    /// A turn of every route in which something waits. Whether anything was done.
    async fn round(&mut self) -> Result<bool> {
        let mut found = false;
        for (source, event_type) in retract::waiting(self.connection, self.limits.deadline).await? {
            if self.is_over() {
                break;
            }
            if self.is_open(&source, &event_type) {
                let retracted = self.retract(&source, &event_type).await;
                found |= self.handle_result(&source, &event_type, retracted).await?;
            }
        }
        for route in routes::waiting(self.connection, self.limits.deadline).await? {
            let (source, event_type) = (route.source, route.event_type.unwrap_or_default());
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

    /// Whether the models of a route can take its events; when its tables are not there, it waits.
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

    /// Claims from one route until nothing is left, its turn ends or time is up. Whether anything was claimed.
    async fn claim_turn(&mut self, source: &str, event_type: &str) -> Result<bool> {
        let route = Route { source: source.to_owned(), event_type: Some(event_type.to_owned()) };
        // Behind the last claim, so that it is not looked for among those that are done again; what came late is found in
        // the next round, which begins at the beginning.
        let mut since = SystemTime::UNIX_EPOCH;
        let mut found = false;
        for _ in 0..TURN {
            if self.is_over() {
                break;
            }
            let started = Instant::now();
            // Boxed: the futures of a claim are deeper than the compiler lays out in one go.
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
            // The world is in the way of every route alike.
            Err(error) if matches!(error.kind(), Kind::Transient | Kind::Conflict) => return Err(error),
            Err(error) => error,
        };
        let reason = error.chain();
        error!(source, event_type, error = reason, "events wait");
        for model in self.claim.models(source, event_type) {
            record_failed(self.connection, self.claim.run_id, &model, &reason, self.limits.deadline).await?;
        }
        self.wait(source, event_type, reason);
        Ok(false)
    }

    fn wait(&mut self, source: &str, event_type: &str, reason: String) {
        let (source, event_type) = (source.to_owned(), event_type.to_owned());
        self.failed.insert((source.clone(), event_type.clone()));
        self.summary.waiting.insert(Waiting { source, event_type, reason });
    }
}

async fn record_failed(
    connection: &mut Connection,
    run_id: Uuid,
    model: &str,
    reason: &str,
    deadline: Instant,
) -> Result<()> {
    let outcome = (RunOutcome::Failed, reason);
    runs::record(connection, run_id, model, Activity::Transform, outcome, deadline).await
}
