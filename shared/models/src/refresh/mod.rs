//! Refreshes every relation derived from facts, in dependency order.
//!
//! Each relation has its own transaction. If one fails, it and the relations that read it are unchanged, and the others are
//! refreshed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use millrace::database::Connection;
use millrace::metrics::{self, names};
use millrace::{Code, Error, Kind, Result};
use serde::Serialize;
use serde_json::json;
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;
use tracing::{error, info};
use uuid::Uuid;

use crate::derived::catalog::{self, Node, Trigger};
use crate::derived::invalidate::{has_all_triggers, invalidate_relation};
use crate::derived::rollup::{Invalidated, recompute, take_invalidations};
use crate::project::Project;
use crate::runs::{RunActivity, RunCounts, RunOutcome, RunRecord};
use crate::sql::{self, Statement, relation};
use crate::{deploy, notify, work};

const LOCK: Statement = Statement::new("lock a relation for its refresh", include_str!("lock.sql"));

/// The limits of a run.
#[derive(Debug, Clone, Copy)]
pub struct RefreshLimits {
    /// How long each refresh waits for a lock.
    pub lock_timeout: Duration,
    /// No refresh begins after this time.
    pub last_start: Instant,
    /// A refresh that runs at this time is cancelled.
    pub deadline: Instant,
}

/// The result of a run, by relation.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct RefreshSummary {
    /// The refreshed relations, with the number of rows.
    pub refreshed: BTreeMap<String, u64>,
    /// The relations whose inputs had not changed.
    pub unchanged: BTreeSet<String>,
    /// The relations that were left for the next run, with the reason.
    pub skipped: BTreeMap<String, String>,
    /// Those of the skipped that another run is refreshing.
    pub busy: BTreeSet<String>,
    pub failed: BTreeMap<String, String>,
}

impl RefreshSummary {
    /// The failures, as one error.
    pub fn failure(&self) -> Option<Error> {
        if self.failed.is_empty() {
            return None;
        }
        let reasons: Vec<String> =
            self.failed.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
        let message = format!("not refreshed: {}", reasons.join("; "));
        Some(Error::new(Kind::Config, message).with_code(Code::RefreshFailed))
    }
}

/// The result of one relation.
enum RefreshOutcome {
    Refreshed(u64),
    Unchanged,
    Busy,
}

/// Refreshes every rollup and materialized view in `facts` whose inputs changed.
///
/// # Errors
/// When the database cannot be reached. A relation that fails is not an error of the run: [`RefreshSummary::failed`] has the reason.
pub async fn run(
    connection: &mut Connection,
    project: &Project,
    run_id: Uuid,
    limits: RefreshLimits,
) -> Result<RefreshSummary> {
    let deployment = deploy::deploy(connection, project, limits.deadline).await?;
    let (nodes, triggers) = connection
        .run_tx("read the derived relations", limits.deadline, async |transaction| {
            work::begin(transaction).await?;
            Ok((catalog::nodes(transaction, project).await?, catalog::triggers(transaction).await?))
        })
        .await?;
    let run = RunRecord { run_id, activity: RunActivity::Refresh };
    let mut summary = RefreshSummary::default();
    // The relations that failed and their dependants, by name: these would be computed from stale rows.
    let mut behind: BTreeMap<u32, &str> = BTreeMap::new();
    for node in &nodes {
        let stopped = deployment.stopped.get(&node.name);
        let below = behind.iter().find(|(relation, _)| node.reads(**relation)).map(|(_, name)| *name);
        let outcome = match (stopped, below) {
            (Some(error), _) => Err((RunOutcome::Failed, error.chain())),
            (None, Some(below)) => {
                Err((RunOutcome::Skipped, format!("it reads {below}, which is not refreshed")))
            }
            (None, None) => match why_not(node, limits) {
                Some(reason) => Err((RunOutcome::Skipped, reason)),
                None => refresh(connection, node, &nodes, &triggers, run, limits).await?,
            },
        };
        match outcome {
            Ok(RefreshOutcome::Refreshed(rows)) => {
                summary.refreshed.insert(node.name.clone(), rows);
            }
            Ok(RefreshOutcome::Unchanged) => {
                summary.unchanged.insert(node.name.clone());
            }
            Ok(RefreshOutcome::Busy) => {
                summary.skipped.insert(node.name.clone(), "another run is refreshing it".to_owned());
                summary.busy.insert(node.name.clone());
            }
            Err((outcome, reason)) => {
                run.record(connection, &node.name, outcome, &reason, limits.deadline).await?;
                if outcome == RunOutcome::Failed || below.is_some() {
                    behind.insert(node.relation, &node.name);
                }
                if outcome == RunOutcome::Failed {
                    error!(model = node.name, error = reason, "not refreshed");
                    summary.failed.insert(node.name.clone(), reason);
                } else {
                    info!(model = node.name, reason, "skipped");
                    summary.skipped.insert(node.name.clone(), reason);
                }
            }
        }
    }
    Ok(summary)
}

fn why_not(node: &Node<'_>, limits: RefreshLimits) -> Option<String> {
    if Instant::now() >= limits.last_start {
        return Some("the deadline is reached; the next run refreshes it".to_owned());
    }
    if !node.is_owned {
        return Some(format!(
            "millrace_transform is not its owner: alter {} {} owner to millrace_transform",
            if node.is_materialized { "materialized view" } else { "table" },
            relation(&node.name)
        ));
    }
    None
}

/// Refreshes one relation in its own transaction. An error of the server is an outcome.
async fn refresh(
    connection: &mut Connection,
    node: &Node<'_>,
    nodes: &[Node<'_>],
    triggers: &[Trigger],
    run: RunRecord,
    limits: RefreshLimits,
) -> Result<Result<RefreshOutcome, (RunOutcome, String)>> {
    let is_tracked = has_all_triggers(node, triggers);
    let begun = Instant::now();
    let outcome =
        work::try_once(connection, "refresh", limits.lock_timeout, limits.deadline, async |transaction| {
            let started = Instant::now();
            if !lock(transaction, &node.name).await? {
                return Ok(RefreshOutcome::Busy);
            }
            let invalidated = match take_invalidations(transaction, &node.name).await? {
                Invalidated::Nothing if is_tracked && (node.is_populated || !node.is_materialized) => {
                    return Ok(RefreshOutcome::Unchanged);
                }
                invalidated if is_tracked => invalidated,
                // Without all triggers, changes are unknown.
                _ => Invalidated::Everything,
            };
            let row_count = match node.model {
                Some(model) if !node.is_materialized => {
                    recompute(transaction, node, model, &invalidated).await?
                }
                _ => refresh_view(transaction, node, nodes).await?,
            };
            let counts = RunCounts { row_count, duration: started.elapsed(), ..RunCounts::default() };
            run.count(transaction, &node.name, counts).await?;
            let message = json!({"kind": "refresh", "model": node.name, "rows": row_count});
            notify::send(transaction, &message).await?;
            Ok(RefreshOutcome::Refreshed(row_count))
        })
        .await?;
    if let Ok(RefreshOutcome::Refreshed(rows)) = &outcome {
        // After the commit, which is part of the duration.
        let duration = begun.elapsed();
        metrics::record(names::VIEW_DURATION, metrics::millis(duration));
        info!(model = node.name, row_count = rows, duration_ms = duration.as_millis() as u64, "refreshed");
    }
    Ok(outcome.map_err(|error| (RunOutcome::Failed, error.chain())))
}

/// Refreshes a materialized view, concurrently if possible, and returns the number of its rows.
async fn refresh_view(transaction: &Transaction<'_>, node: &Node<'_>, nodes: &[Node<'_>]) -> Result<u64> {
    let doing = format!("refresh facts.{}", node.name);
    let concurrently = if node.is_populated && node.has_usable_key { "concurrently " } else { "" };
    let view = relation(&node.name);
    let statement = format!("refresh materialized view {concurrently}{view}");
    sql::batch_execute(transaction, &doing, &statement).await?;
    // Materialized views have no triggers.
    for above in nodes.iter().filter(|above| above.reads(node.relation)) {
        invalidate_relation(transaction, &above.name).await?;
    }
    let rows =
        Statement::new(&doing, &format!("select count(*) from {view}")).query(transaction, &[]).await?;
    Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0)) as u64)
}

/// Locks the relation. Returns false if another run has it locked.
async fn lock(transaction: &Transaction<'_>, name: &str) -> Result<bool> {
    let rows = LOCK.query(transaction, &[(&name, Type::TEXT)]).await?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}
