//! One transaction: claims batches, runs every model that reads them, and marks them as processed.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use millrace::Result;
use millrace::database::Connection;
use millrace::dead_letter::DeadLetterQueue;
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::bounds::ClaimBounds;
use crate::deploy::Deployment;
use crate::facts::ranges::{LockedBatch, RunEvents};
use crate::facts::run::{self, FactTable};
use crate::model::{EventRoute, Model};
use crate::notify;
use crate::project::Project;
use crate::runs::RunRecord;
use crate::sql::{Parameter, Statement};

const CLAIM: Statement = Statement::new("claim batches", include_str!("claim.sql"));
const MARK: Statement = Statement::new("mark batches as processed", include_str!("mark.sql"));

/// The data that all claims of a run share.
pub struct Claim<'r> {
    pub project: &'r Project,
    pub deployment: &'r Deployment,
    pub version: i64,
    pub dead_letter_queue: &'r DeadLetterQueue,
    pub run: RunRecord,
    pub bounds: ClaimBounds,
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

impl Claim<'_> {
    /// Claims batches of a route that were received at or after `since`, runs every model over them and commits. `None` when there are
    /// none, or when other transactions have locked all of them.
    pub async fn run(
        &self,
        connection: &mut Connection,
        route: &EventRoute,
        since: SystemTime,
        deadline: Instant,
    ) -> Result<Option<Claimed>> {
        let (source, event_type) = (&route.source, route.event_type.as_deref().unwrap_or_default());
        let models: Vec<&Model> = self.project.facts_for(source, event_type).collect();
        let catalog = &self.deployment.catalog;
        let tables: Vec<FactTable> = models.iter().map(|model| FactTable::deployed(model, catalog)).collect();
        let stall_detector = connection.stall_detector();
        connection
            .run_tx("transform", deadline, async |transaction| {
                run::begin(transaction, &models).await?;
                let batches = self.claim_batches(transaction, source, event_type, since).await?;
                let (Some(first), Some(last)) = (batches.first(), batches.last()) else { return Ok(None) };
                let events = RunEvents::of(&batches);
                let written = run::write(transaction, &tables, &events, self.run).await?;
                written.quarantine(transaction, self.dead_letter_queue, &stall_detector).await?;
                let refused = written.refused_counts(&batches);
                mark(transaction, &batches, &refused, models.is_empty(), self.version).await?;
                let quarantined = refused.iter().sum::<i64>() as u64;
                let rows = written.rows;
                notify::transformed(transaction, route, batches.len(), events.count, quarantined, &rows)
                    .await?;
                let superseded = batches.iter().filter(|batch| batch.superseded);
                let skipped = superseded.map(|batch| batch.staged_count as u64).sum::<u64>();
                Ok(Some(Claimed {
                    batches: batches.len() as u64,
                    events: events.count + skipped,
                    quarantined,
                    unmodelled: skipped + if models.is_empty() { events.count } else { 0 },
                    rows,
                    first_batch_id: first.batch_id,
                    first_received_at: first.received_at,
                    last_batch_id: last.batch_id,
                    last_received_at: last.received_at,
                }))
            })
            .await
    }

    async fn claim_batches(
        &self,
        transaction: &Transaction<'_>,
        source: &str,
        event_type: &str,
        since: SystemTime,
    ) -> Result<Vec<LockedBatch>> {
        let parameters: [Parameter<'_>; 5] = [
            (&source, Type::TEXT),
            (&event_type, Type::TEXT),
            (&since, Type::TIMESTAMPTZ),
            (&self.bounds.events, Type::INT8),
            (&self.bounds.bytes, Type::INT8),
        ];
        let rows = CLAIM.query(transaction, &parameters).await?;
        Ok(rows.iter().map(LockedBatch::read).collect())
    }
}

async fn mark(
    transaction: &Transaction<'_>,
    batches: &[LockedBatch],
    quarantined: &[i64],
    no_model: bool,
    version: i64,
) -> Result<()> {
    let ids: Vec<Uuid> = batches.iter().map(|batch| batch.batch_id).collect();
    let unmodelled: Vec<i64> = batches
        .iter()
        .map(|batch| if no_model || batch.superseded { batch.staged_count } else { 0 })
        .collect();
    let parameters: [Parameter<'_>; 4] = [
        (&ids, Type::UUID_ARRAY),
        (&quarantined, Type::INT8_ARRAY),
        (&unmodelled, Type::INT8_ARRAY),
        (&version, Type::INT8),
    ];
    MARK.execute(transaction, &parameters).await?;
    Ok(())
}
