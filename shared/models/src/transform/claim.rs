//! One transaction: claims batches, runs every model that reads them, and marks them as processed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Instant, SystemTime};

use millrace::Result;
use millrace::database::Connection;
use millrace::database::failure::from_postgres;
use millrace::dead_letter::DeadLetterQueue;
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::bounds::Bounds;
use super::dead_letters;
use crate::deploy::Deployment;
use crate::facts::apply::{Applied, Refused, apply};
use crate::facts::ranges::EventRange;
use crate::facts::statement;
use crate::model::{Model, Route};
use crate::project::Project;
use crate::runs::{self, Activity, Done};
use crate::sql::relation;
use crate::{notify, quarantine, work};

const LOCK_MODELS: &str = include_str!("lock_models.sql");
const CLAIM: &str = include_str!("claim.sql");
const MARK: &str = include_str!("mark.sql");

/// The data that all claims of a run share.
pub struct Claim<'r> {
    pub project: &'r Project,
    pub deployment: &'r Deployment,
    pub version: i64,
    pub dead_letter_queue: &'r DeadLetterQueue,
    pub run_id: Uuid,
    pub bounds: Bounds,
}

/// The result of a claim.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    pub batches: u64,
    pub events: u64,
    pub quarantined: u64,
    pub unmodelled: u64,
    pub rows: BTreeMap<String, u64>,
    pub first_batch_id: Uuid,
    pub first_received_at: SystemTime,
    pub last_batch_id: Uuid,
    pub last_received_at: SystemTime,
}

struct Batch {
    batch_id: Uuid,
    received_at: SystemTime,
    staged_count: i64,
    superseded: bool,
}

impl Claim<'_> {
    /// The names of the models that read the events of a source and type.
    pub fn models(&self, source: &str, event_type: &str) -> Vec<String> {
        self.project.facts_for(source, event_type).map(|model| model.name.clone()).collect()
    }

    /// Claims batches of a route that were received at or after `since`, runs every model over them and commits. `None` when there are
    /// none, or when other transactions have locked all of them.
    pub async fn run(
        &self,
        connection: &mut Connection,
        route: &Route,
        since: SystemTime,
        deadline: Instant,
    ) -> Result<Option<Claimed>> {
        let stall_detector = connection.stall_detector();
        connection
            .run_tx("transform", deadline, async |transaction| {
                work::begin(transaction).await?;
                let (source, event_type) = (&route.source, route.event_type.as_deref().unwrap_or_default());
                let models: Vec<&Model> = self.project.facts_for(source, event_type).collect();
                lock_models(transaction, &models).await?;
                let batches = self.claim_batches(transaction, source, event_type, since).await?;
                let (Some(first), Some(last)) = (batches.first(), batches.last()) else { return Ok(None) };
                let (ranges, event_count) = ranges(&batches);
                let mut rows = BTreeMap::new();
                let mut refused: BTreeMap<&str, Vec<Refused>> = BTreeMap::new();
                for model in &models {
                    let started = Instant::now();
                    let applied = self.apply(transaction, model, &ranges, event_count).await?;
                    let done = Done {
                        event_count,
                        row_count: applied.row_count,
                        quarantined_count: applied.refused.len() as u64,
                        duration: started.elapsed(),
                    };
                    runs::count(transaction, self.run_id, &model.name, Activity::Transform, &done).await?;
                    rows.insert(model.name.clone(), applied.row_count);
                    if !applied.refused.is_empty() {
                        refused.insert(&model.name, applied.refused);
                    }
                }
                let quarantined = count_events(&refused);
                let dead_letters = dead_letters::write(transaction, &models, &refused).await?;
                for model in refused.keys() {
                    let of_model = dead_letters
                        .iter()
                        .filter(|dead_letter| dead_letter.reason.model.as_deref() == Some(model));
                    quarantine::record(transaction, model, &of_model.collect::<Vec<_>>()).await?;
                }
                // Send dead letters before the commit: a crash can repeat a dead letter but never lose one.
                stall_detector.pause(self.dead_letter_queue.send(&dead_letters)).await?;
                mark(transaction, &batches, &quarantined, models.is_empty(), self.version).await?;
                let quarantined = quarantined.values().sum::<i64>() as u64;
                notify::transformed(transaction, route, batches.len(), event_count, quarantined, &rows)
                    .await?;
                let superseded = batches.iter().filter(|batch| batch.superseded);
                let skipped = superseded.map(|batch| batch.staged_count as u64).sum::<u64>();
                Ok(Some(Claimed {
                    batches: batches.len() as u64,
                    events: event_count + skipped,
                    quarantined,
                    unmodelled: skipped + if models.is_empty() { event_count } else { 0 },
                    rows,
                    first_batch_id: first.batch_id,
                    first_received_at: first.received_at,
                    last_batch_id: last.batch_id,
                    last_received_at: last.received_at,
                }))
            })
            .await
    }

    async fn apply(
        &self,
        transaction: &Transaction<'_>,
        model: &Model,
        ranges: &[EventRange],
        event_count: u64,
    ) -> Result<Applied> {
        if ranges.is_empty() {
            return Ok(Applied::default());
        }
        let columns = self.deployment.catalog.query_columns(&model.name);
        let statement = statement::insert(model, &relation(&model.name), &columns, None);
        apply(transaction, model, &statement, ranges, event_count).await
    }

    async fn claim_batches(
        &self,
        transaction: &Transaction<'_>,
        source: &str,
        event_type: &str,
        since: SystemTime,
    ) -> Result<Vec<Batch>> {
        let rows = transaction
            .query_typed(
                CLAIM,
                &[
                    (&source, Type::TEXT),
                    (&event_type, Type::TEXT),
                    (&since, Type::TIMESTAMPTZ),
                    (&self.bounds.events, Type::INT8),
                    (&self.bounds.bytes, Type::INT8),
                ],
            )
            .await
            .map_err(|error| from_postgres("claim batches", error))?;
        Ok(rows
            .iter()
            .map(|row| Batch {
                batch_id: row.get("batch_id"),
                received_at: row.get("received_at"),
                staged_count: row.get("staged_count"),
                superseded: row.get("superseded"),
            })
            .collect())
    }
}

/// Takes shared locks, so that transforms run concurrently. The swap of a rebuilt table takes the exclusive lock.
pub async fn lock_models(transaction: &Transaction<'_>, models: &[&Model]) -> Result<()> {
    let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
    transaction
        .query_typed(LOCK_MODELS, &[(&names, Type::TEXT_ARRAY)])
        .await
        .map_err(|error| from_postgres("wait for a model's table to be swapped", error))?;
    Ok(())
}

/// The events of the batches that are not superseded, and their number.
fn ranges(batches: &[Batch]) -> (Vec<EventRange>, u64) {
    let current = || batches.iter().filter(|batch| !batch.superseded);
    let ranges = current().map(|batch| EventRange::whole(batch.batch_id, batch.received_at)).collect();
    (ranges, current().map(|batch| batch.staged_count as u64).sum())
}

/// The number of events of each batch that at least one model refused.
fn count_events(refused: &BTreeMap<&str, Vec<Refused>>) -> HashMap<Uuid, i64> {
    let events: BTreeSet<(Uuid, i64)> =
        refused.values().flatten().map(|refused| (refused.batch_id, refused.event_id)).collect();
    let mut counts = HashMap::new();
    for (batch_id, _) in events {
        *counts.entry(batch_id).or_default() += 1;
    }
    counts
}

async fn mark(
    transaction: &Transaction<'_>,
    batches: &[Batch],
    quarantined: &HashMap<Uuid, i64>,
    no_model: bool,
    version: i64,
) -> Result<()> {
    let ids: Vec<Uuid> = batches.iter().map(|batch| batch.batch_id).collect();
    let quarantined: Vec<i64> =
        ids.iter().map(|id| quarantined.get(id).copied().unwrap_or_default()).collect();
    let unmodelled: Vec<i64> = batches
        .iter()
        .map(|batch| if no_model || batch.superseded { batch.staged_count } else { 0 })
        .collect();
    transaction
        .execute_typed(
            MARK,
            &[
                (&ids, Type::UUID_ARRAY),
                (&quarantined, Type::INT8_ARRAY),
                (&unmodelled, Type::INT8_ARRAY),
                (&version, Type::INT8),
            ],
        )
        .await
        .map_err(|error| from_postgres("mark batches as processed", error))?;
    Ok(())
}
