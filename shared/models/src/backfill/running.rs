//! A running backfill: a row of `pipeline.backfills`, with its batches in `pipeline.backfill_batches`.

use std::time::Instant;

use millrace::Result;
use millrace::database::Connection;
use millrace::dead_letter::DeadLetterQueue;
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::swap;
use super::unseen::{BackfillTarget, ModelParameters};
use crate::deploy::table;
use crate::facts::ranges::{LockedBatch, RunEvents};
use crate::facts::run::{self, FactTable};
use crate::model::Model;
use crate::project::Project;
use crate::runs::RunRecord;
use crate::sql::{self, Parameter, Statement, relation};
use crate::{quarantine, registry, work};

const BEGIN: Statement = Statement::new("begin a backfill", include_str!("begin.sql"));
const ABANDON: Statement = Statement::new("begin a backfill", include_str!("abandon.sql"));
const RUNNING: Statement = Statement::new("begin a backfill", include_str!("running.sql"));
const ENQUEUE: Statement = Statement::new("list the batches of a backfill", include_str!("enqueue.sql"));
const WAITING: Statement = Statement::new("finish a backfill", include_str!("waiting.sql"));
const PROGRESS: Statement = Statement::new("count a backfill", include_str!("progress.sql"));
const TAKE: Statement = Statement::new("take batches of a backfill", include_str!("take.sql"));
const DONE: Statement = Statement::new("take batches of a backfill", include_str!("done.sql"));
const FINISH: Statement = Statement::new("finish a backfill", include_str!("finish.sql"));

#[derive(Clone, Copy)]
pub struct RunningBackfill<'m> {
    backfill_id: Uuid,
    model: &'m Model,
    target: BackfillTarget,
    deadline: Instant,
}

/// The result of a transaction.
#[derive(Default)]
pub struct Processed {
    pub batches: usize,
    pub events: u64,
    pub rows: u64,
    pub quarantined: u64,
}

impl<'m> RunningBackfill<'m> {
    /// Continues the backfill of the model if it has the same query and target. Otherwise begins a new one.
    pub async fn begin(
        connection: &mut Connection,
        model: &'m Model,
        target: BackfillTarget,
        deadline: Instant,
    ) -> Result<Self> {
        let fresh = RunningBackfill { backfill_id: Uuid::now_v7(), model, target, deadline };
        connection
            .run_tx("begin a backfill", deadline, async |transaction| {
                work::begin(transaction).await?;
                registry::lock(transaction).await?;
                let running = RUNNING.query(transaction, &[(&model.name, Type::TEXT)]).await?;
                if let Some(row) = running.first() {
                    let same = row.get::<_, &str>("fingerprint") == model.fingerprint
                        && row.get::<_, &str>("target") == target.name();
                    if same {
                        let running = RunningBackfill { backfill_id: row.get("backfill_id"), ..fresh };
                        running.enqueue(transaction).await?;
                        return Ok(running);
                    }
                    ABANDON.execute(transaction, &[(&model.name, Type::TEXT)]).await?;
                }
                if target == BackfillTarget::Rebuild {
                    let beside = target.table(model);
                    quarantine::delete_model(transaction, &beside).await?;
                    let drop = format!("drop table if exists {}", relation(&beside));
                    sql::batch_execute(transaction, "begin a backfill", &drop).await?;
                    table::create(transaction, model, &beside).await?;
                    // Create the constraints before the rows, so that events that fail a test are quarantined.
                    table::finish(transaction, model, &beside).await?;
                }
                let parameters: [Parameter<'_>; 4] = [
                    (&fresh.backfill_id, Type::UUID),
                    (&model.name, Type::TEXT),
                    (&model.fingerprint, Type::TEXT),
                    (&target.name(), Type::TEXT),
                ];
                BEGIN.execute(transaction, &parameters).await?;
                fresh.enqueue(transaction).await?;
                Ok(fresh)
            })
            .await
    }

    async fn enqueue(&self, transaction: &Transaction<'_>) -> Result<u64> {
        let model = ModelParameters::of(self.model);
        let [sources, event_types, name, fingerprint] = model.typed();
        let is_rebuild = self.target == BackfillTarget::Rebuild;
        let id: Parameter<'_> = (&self.backfill_id, Type::UUID);
        let parameters = [sources, event_types, name, fingerprint, id, (&is_rebuild, Type::BOOL)];
        ENQUEUE.execute(transaction, &parameters).await
    }

    /// Adds the batches that were processed without this model meanwhile. Returns their number.
    pub async fn enqueue_more(&self, connection: &mut Connection) -> Result<u64> {
        connection
            .run_tx("list more batches of a backfill", self.deadline, async |transaction| {
                work::begin(transaction).await?;
                self.enqueue(transaction).await
            })
            .await
    }

    /// Locks the next batches, runs the model over them and marks them, in one transaction.
    pub async fn process(
        &self,
        connection: &mut Connection,
        dead_letter_queue: &DeadLetterQueue,
        run: RunRecord,
        most_events: i64,
    ) -> Result<Processed> {
        let stall_detector = connection.stall_detector();
        connection
            .run_tx("backfill", self.deadline, async |transaction| {
                run::begin(transaction, &[self.model]).await?;
                let rows = TAKE
                    .query(transaction, &[(&self.backfill_id, Type::UUID), (&most_events, Type::INT8)])
                    .await?;
                if rows.is_empty() {
                    return Ok(Processed::default());
                }
                let batches: Vec<LockedBatch> = rows.iter().map(LockedBatch::read).collect();
                let ids: Vec<Uuid> = batches.iter().map(|batch| batch.batch_id).collect();
                let events = RunEvents::of(&batches);
                let name = self.target.table(self.model);
                let tables = [FactTable::read(transaction, self.model, name).await?];
                let written = run::write(transaction, &tables, &events, run).await?;
                quarantine::delete(transaction, &tables[0].name, &ids).await?;
                written.quarantine(transaction, dead_letter_queue, &stall_detector).await?;
                let refused = written.refused_counts(&batches);
                let parameters: [Parameter<'_>; 3] =
                    [(&self.backfill_id, Type::UUID), (&ids, Type::UUID_ARRAY), (&refused, Type::INT8_ARRAY)];
                DONE.execute(transaction, &parameters).await?;
                if self.target == BackfillTarget::InPlace {
                    quarantine::recount(transaction, &ids).await?;
                }
                Ok(Processed {
                    batches: batches.len(),
                    events: events.count,
                    rows: written.rows.values().sum(),
                    quarantined: refused.iter().sum::<i64>() as u64,
                })
            })
            .await
    }

    /// The number of processed events and of all events.
    pub async fn count(&self, connection: &mut Connection) -> Result<(i64, i64)> {
        let id: [Parameter<'_>; 1] = [(&self.backfill_id, Type::UUID)];
        let rows = PROGRESS.query_alone(connection, self.deadline, &id).await?;
        Ok(rows.first().map_or((0, 0), |row| (row.get(0), row.get(1))))
    }

    /// Ends a backfill without remaining batches. Returns false if other workers still process some.
    pub async fn finish(&self, connection: &mut Connection, project: &Project) -> Result<bool> {
        let is_rebuild = self.target == BackfillTarget::Rebuild;
        connection
            .run_tx("finish a backfill", self.deadline, async |transaction| {
                work::begin(transaction).await?;
                registry::lock(transaction).await?;
                if is_rebuild {
                    // No claim of this model runs until the commit.
                    run::exclude_writers(transaction, self.model).await?;
                    self.enqueue(transaction).await?;
                }
                let backfill_id: [Parameter<'_>; 1] = [(&self.backfill_id, Type::UUID)];
                let waiting = WAITING.query(transaction, &backfill_id).await?;
                if !waiting.is_empty() {
                    return Ok(false);
                }
                if is_rebuild {
                    let beside = self.target.table(self.model);
                    swap::retract_replaced(transaction, self.model, self.backfill_id, &beside).await?;
                    swap::swap(transaction, project, self.model, &beside).await?;
                    registry::record(transaction, self.model).await?;
                }
                FINISH.execute(transaction, &backfill_id).await?;
                Ok(true)
            })
            .await
    }
}
