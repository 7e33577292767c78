//! Backfills: run a model over the batches that were processed before its current version was deployed.
//!
//! A new model writes to its table while new events are processed, because facts do not depend on the order of transforms. A
//! model whose query changed writes to a new table, which replaces the old table at the end. The batches to process are rows of
//! `pipeline.backfill_batches`. The transaction that processes a batch marks it, so that an interrupted backfill continues where
//! it stopped, and several workers may run it concurrently.

mod swap;

use std::time::{Duration, Instant};

use millrace::Result;
use millrace::database::Connection;
use millrace::database::failure::from_postgres;
use millrace::dead_letter::DeadLetterQueue;
use tokio_postgres::Transaction;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::deploy::table;
use crate::facts::apply::apply;
use crate::facts::ranges::EventRange;
use crate::facts::statement;
use crate::model::Model;
use crate::project::Project;
use crate::runs::{self, Activity, Done};
use crate::sql::relation;
use crate::transform::{Bounds, claim, dead_letters};
use crate::{columns, quarantine, registry, work};

const BEGIN: &str = include_str!("begin.sql");
const ABANDON: &str = include_str!("abandon.sql");
const RUNNING: &str = include_str!("running.sql");
const ENQUEUE: &str = include_str!("enqueue.sql");
const WAITING: &str = include_str!("waiting.sql");
const PROGRESS: &str = include_str!("progress.sql");
const TAKE: &str = include_str!("take.sql");
const DONE: &str = include_str!("done.sql");
const FINISH: &str = include_str!("finish.sql");
const UNSEEN: &str = include_str!("unseen.sql");
const HAS_OTHER_VERSION: &str = include_str!("has_other_version.sql");

/// The table to which a backfill writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    InPlace,
    /// A new table, which then replaces the old one.
    Rebuild,
}

impl Target {
    pub const ALL: [Target; 2] = [Target::InPlace, Target::Rebuild];

    /// As in the column `target`.
    pub const fn name(self) -> &'static str {
        match self {
            Target::InPlace => "in_place",
            Target::Rebuild => "rebuild",
        }
    }

    fn table(self, model: &Model) -> String {
        match self {
            Target::InPlace => model.name.clone(),
            Target::Rebuild => rebuilt(&model.name),
        }
    }
}

fn rebuilt(model: &str) -> String {
    format!("{model}__rebuild")
}

/// The processed batches that a model has not seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct History {
    pub batches: i64,
    pub events: i64,
    /// Another version of the model wrote facts that are still in the table.
    pub has_other_version: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    pub events_done: i64,
    pub events: i64,
    pub rows: u64,
    pub quarantined: u64,
}

#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub target: Target,
    pub bounds: Bounds,
    /// The maximum number of events per second, to limit the load on the database.
    pub events_per_second: Option<u32>,
    /// No chunk begins after this time.
    pub deadline: Instant,
}

/// Counts the processed batches and events that `model` has not seen.
pub async fn unseen(connection: &mut Connection, model: &Model, deadline: Instant) -> Result<History> {
    let routes = Routes::of(model);
    connection
        .run_statement("count unseen batches", deadline, async |session| {
            let failed = |error| from_postgres("count the batches that a model has not seen", error);
            let [sources, event_types] = routes.typed();
            let seen: [(&(dyn ToSql + Sync), Type); 4] =
                [sources, event_types, (&model.name, Type::TEXT), (&model.fingerprint, Type::TEXT)];
            let rows = session.query_typed(UNSEEN, &seen).await.map_err(failed)?;
            let others = session.query_typed(HAS_OTHER_VERSION, &seen[2..]).await.map_err(failed)?;
            Ok(History {
                batches: rows.first().map_or(0, |row| row.get(0)),
                events: rows.first().map_or(0, |row| row.get(1)),
                has_other_version: others.first().is_some_and(|row| row.get(0)),
            })
        })
        .await
}

/// Runs `model` over the batches that it has not seen, until the deadline. Returns whether all were processed.
///
/// # Errors
/// The errors of a claim. If the model fails, the backfill stops. Committed batches stay processed.
pub async fn backfill(
    connection: &mut Connection,
    project: &Project,
    model: &Model,
    dead_letter_queue: &DeadLetterQueue,
    run_id: Uuid,
    mut options: Options,
    mut progressed: impl FnMut(&Progress),
) -> Result<bool> {
    if let Some(rate) = options.events_per_second {
        // At most the events of one second per transaction, so that the load is even.
        options.bounds.events = options.bounds.events.min(i64::from(rate.max(1)));
    }
    let mut progress = Progress::default();
    let backfill_id = Box::pin(begin(connection, model, options)).await?;
    loop {
        let began = Instant::now();
        if began >= options.deadline {
            return Ok(false);
        }
        let stall_detector = connection.stall_detector();
        let taken = Box::pin(connection.run_tx("backfill", options.deadline, async |transaction| {
            work::begin(transaction).await?;
            claim::lock_models(transaction, &[model]).await?;
            let taken = take(transaction, model, backfill_id, run_id, options).await?;
            stall_detector.pause(dead_letter_queue.send(&taken.dead_letters)).await?;
            Ok(taken)
        }))
        .await?;
        progress.rows += taken.rows;
        progress.quarantined += taken.dead_letters.len() as u64;
        (progress.events_done, progress.events) =
            Box::pin(count(connection, backfill_id, options.deadline)).await?;
        progressed(&progress);
        if taken.batches > 0 {
            if let Some(rate) = options.events_per_second {
                let due = Duration::from_secs_f64(taken.events as f64 / f64::from(rate.max(1)));
                tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
            }
            continue;
        }
        // Add batches that a worker with an older file processed without this model meanwhile.
        if Box::pin(enqueue_more(connection, model, backfill_id, options)).await? > 0 {
            continue;
        }
        let finished = Box::pin(finish(connection, project, model, backfill_id, options)).await?;
        if finished {
            return Ok(true);
        }
        // Other workers have locked the rest.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The result of a transaction.
#[derive(Default)]
struct Taken {
    batches: usize,
    events: u64,
    rows: u64,
    dead_letters: Vec<millrace::dead_letter::DeadLetter>,
}

/// The routes of a model, as parameters.
struct Routes {
    sources: Vec<String>,
    event_types: Vec<Option<String>>,
}

impl Routes {
    fn of(model: &Model) -> Routes {
        Routes {
            sources: model.routes.iter().map(|route| route.source.clone()).collect(),
            event_types: model.routes.iter().map(|route| route.event_type.clone()).collect(),
        }
    }

    fn typed(&self) -> [(&(dyn ToSql + Sync), Type); 2] {
        [(&self.sources, Type::TEXT_ARRAY), (&self.event_types, Type::TEXT_ARRAY)]
    }
}

/// Continues the backfill of the model if it has the same query and target. Otherwise begins a new one.
async fn begin(connection: &mut Connection, model: &Model, options: Options) -> Result<Uuid> {
    let fresh = Uuid::now_v7();
    connection
        .run_tx("begin a backfill", options.deadline, async |transaction| {
            work::begin(transaction).await?;
            registry::lock(transaction).await?;
            let failed = |error| from_postgres("begin a backfill", error);
            let target = options.target.name();
            let running =
                transaction.query_typed(RUNNING, &[(&model.name, Type::TEXT)]).await.map_err(failed)?;
            if let Some(row) = running.first() {
                let same = row.get::<_, &str>("fingerprint") == model.fingerprint
                    && row.get::<_, &str>("target") == target;
                if same {
                    let backfill_id = row.get("backfill_id");
                    enqueue(transaction, model, backfill_id, options.target).await?;
                    return Ok(backfill_id);
                }
                transaction.execute_typed(ABANDON, &[(&model.name, Type::TEXT)]).await.map_err(failed)?;
            }
            if options.target == Target::Rebuild {
                let beside = rebuilt(&model.name);
                quarantine::delete_model(transaction, &beside).await?;
                let drop = format!("drop table if exists {}", relation(&beside));
                transaction.batch_execute(&drop).await.map_err(failed)?;
                table::create(transaction, model, &beside).await?;
                // Create the constraints before the rows, so that events that fail a test are quarantined.
                table::finish(transaction, model, &beside).await?;
            }
            transaction
                .execute_typed(
                    BEGIN,
                    &[
                        (&fresh, Type::UUID),
                        (&model.name, Type::TEXT),
                        (&model.fingerprint, Type::TEXT),
                        (&target, Type::TEXT),
                    ],
                )
                .await
                .map_err(failed)?;
            enqueue(transaction, model, fresh, options.target).await?;
            Ok(fresh)
        })
        .await
}

async fn enqueue(
    transaction: &Transaction<'_>,
    model: &Model,
    backfill_id: Uuid,
    target: Target,
) -> Result<u64> {
    let routes = Routes::of(model);
    let [sources, event_types] = routes.typed();
    transaction
        .execute_typed(
            ENQUEUE,
            &[
                sources,
                event_types,
                (&model.name, Type::TEXT),
                (&model.fingerprint, Type::TEXT),
                (&backfill_id, Type::UUID),
                (&(target == Target::Rebuild), Type::BOOL),
            ],
        )
        .await
        .map_err(|error| from_postgres("list the batches of a backfill", error))
}

async fn enqueue_more(
    connection: &mut Connection,
    model: &Model,
    backfill_id: Uuid,
    options: Options,
) -> Result<u64> {
    connection
        .run_tx("list more batches of a backfill", options.deadline, async |transaction| {
            work::begin(transaction).await?;
            enqueue(transaction, model, backfill_id, options.target).await
        })
        .await
}

/// Locks the next batches, runs the model over them and marks them, in one transaction.
async fn take(
    transaction: &Transaction<'_>,
    model: &Model,
    backfill_id: Uuid,
    run_id: Uuid,
    options: Options,
) -> Result<Taken> {
    let failed = |error| from_postgres("take batches of a backfill", error);
    let rows = transaction
        .query_typed(TAKE, &[(&backfill_id, Type::UUID), (&options.bounds.events, Type::INT8)])
        .await
        .map_err(failed)?;
    if rows.is_empty() {
        return Ok(Taken::default());
    }
    let started = Instant::now();
    let ids: Vec<Uuid> = rows.iter().map(|row| row.get("batch_id")).collect();
    // A batch that was superseded meanwhile has no facts.
    let current = || rows.iter().filter(|row| !row.get::<_, bool>("superseded"));
    let ranges: Vec<EventRange> =
        current().map(|row| EventRange::whole(row.get("batch_id"), row.get("received_at"))).collect();
    let events: u64 = current().map(|row| row.get::<_, i64>("staged_count") as u64).sum();
    let name = options.target.table(model);
    let columns = columns::query_columns(transaction, &name).await?;
    let statement = statement::insert(model, &relation(&name), &columns, None);
    let applied = match ranges.is_empty() {
        true => Default::default(),
        false => apply(transaction, model, &statement, &ranges, events).await?,
    };
    let quarantined_count = applied.refused.len() as u64;
    let mut by_batch: std::collections::HashMap<Uuid, i64> = Default::default();
    for refused in &applied.refused {
        *by_batch.entry(refused.batch_id).or_default() += 1;
    }
    let quarantined: Vec<i64> = ids.iter().map(|id| by_batch.get(id).copied().unwrap_or_default()).collect();
    transaction
        .execute_typed(
            DONE,
            &[(&backfill_id, Type::UUID), (&ids, Type::UUID_ARRAY), (&quarantined, Type::INT8_ARRAY)],
        )
        .await
        .map_err(failed)?;
    let refused = [(model.name.as_str(), applied.refused)].into();
    let dead_letters = dead_letters::write(transaction, &[model], &refused).await?;
    quarantine::delete(transaction, &name, &ids).await?;
    quarantine::record(transaction, &name, &dead_letters.iter().collect::<Vec<_>>()).await?;
    if options.target == Target::InPlace {
        quarantine::recount(transaction, &ids).await?;
    }
    let done = Done {
        event_count: events,
        row_count: applied.row_count,
        quarantined_count,
        duration: started.elapsed(),
    };
    runs::count(transaction, run_id, &model.name, Activity::Backfill, &done).await?;
    Ok(Taken { batches: ids.len(), events, rows: applied.row_count, dead_letters })
}

async fn count(connection: &mut Connection, backfill_id: Uuid, deadline: Instant) -> Result<(i64, i64)> {
    connection
        .run_statement("count a backfill", deadline, async |session| {
            let rows = session
                .query_typed(PROGRESS, &[(&backfill_id, Type::UUID)])
                .await
                .map_err(|error| from_postgres("count a backfill", error))?;
            Ok(rows.first().map_or((0, 0), |row| (row.get(0), row.get(1))))
        })
        .await
}

/// Ends a backfill without remaining batches. Returns false if other workers still process some.
async fn finish(
    connection: &mut Connection,
    project: &Project,
    model: &Model,
    backfill_id: Uuid,
    options: Options,
) -> Result<bool> {
    connection
        .run_tx("finish a backfill", options.deadline, async |transaction| {
            work::begin(transaction).await?;
            registry::lock(transaction).await?;
            let failed = |error| from_postgres("finish a backfill", error);
            if options.target == Target::Rebuild {
                // No claim of this model runs until the commit.
                swap::lock(transaction, model).await?;
                enqueue(transaction, model, backfill_id, options.target).await?;
            }
            let waiting =
                transaction.query_typed(WAITING, &[(&backfill_id, Type::UUID)]).await.map_err(failed)?;
            if !waiting.is_empty() {
                return Ok(false);
            }
            if options.target == Target::Rebuild {
                swap::retract_replaced(transaction, model, backfill_id, &rebuilt(&model.name)).await?;
                swap::swap(transaction, project, model, &rebuilt(&model.name)).await?;
                registry::record(transaction, model).await?;
            }
            transaction.execute_typed(FINISH, &[(&backfill_id, Type::UUID)]).await.map_err(failed)?;
            Ok(true)
        })
        .await
}

/// The target of a backfill: in place, unless the table contains facts of another version of the model.
pub fn target_for(history: &History, full_refresh: bool) -> Option<Target> {
    match (full_refresh || history.has_other_version && history.batches > 0, history.batches) {
        (true, _) => Some(Target::Rebuild),
        (false, 0) => None,
        (false, _) => Some(Target::InPlace),
    }
}
