//! A model over history: the batches that were processed before the model, as it is now, was there.
//!
//! A new model runs in place, beside live traffic: of two events with one key the same one wins, whatever the order. A
//! model whose query changed is built anew beside its table, and swapped with it once nothing is left. Either way the
//! batches to take are rows of `pipeline.backfill_batches`, each marked in the transaction that took it: an
//! interrupted backfill continues where it stopped, and several may run concurrently.

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
const WAS_OTHER: &str = include_str!("was_other.sql");

/// The target of the facts of history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    InPlace,
    /// Beside the table, which it then replaces.
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

/// History that a model has not seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct History {
    pub batches: i64,
    pub events: i64,
    /// Another query of this model's took some of it.
    pub was_other: bool,
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
    /// At most so many events a second, to leave the database to others.
    pub events_per_second: Option<u32>,
    /// No chunk begins after this time.
    pub deadline: Instant,
}

/// What `model` has not seen of what was processed.
pub async fn unseen(connection: &mut Connection, model: &Model, deadline: Instant) -> Result<History> {
    let routes = Routes::of(model);
    connection
        .run_statement("look for history", deadline, async |session| {
            let failed = |error| from_postgres("look for history that a model has not seen", error);
            let [sources, event_types] = routes.typed();
            let seen: [(&(dyn ToSql + Sync), Type); 4] =
                [sources, event_types, (&model.name, Type::TEXT), (&model.fingerprint, Type::TEXT)];
            let rows = session.query_typed(UNSEEN, &seen).await.map_err(failed)?;
            let others = session.query_typed(WAS_OTHER, &seen[2..]).await.map_err(failed)?;
            Ok(History {
                batches: rows.first().map_or(0, |row| row.get(0)),
                events: rows.first().map_or(0, |row| row.get(1)),
                was_other: others.first().is_some_and(|row| row.get(0)),
            })
        })
        .await
}

/// Runs `model` over the history that it has not seen, to its end or to the deadline. Whether the end was reached.
///
/// # Errors
/// As a claim's: a model that fails stops its backfill, and what was taken stays taken.
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
        // A second's worth at a time: a chunk of many seconds' would leave the database nothing while it lasts.
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
        // What was processed without this model meanwhile, by a worker that had not seen its file yet.
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

/// What a chunk of history did.
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

/// Goes on with the model's backfill if it is of the same query and kind, else begins one.
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
                // Before its rows, so that what fails a test is quarantined.
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
        .run_tx("list more of a backfill", options.deadline, async |transaction| {
            work::begin(transaction).await?;
            enqueue(transaction, model, backfill_id, options.target).await
        })
        .await
}

/// The next chunk: locked, through the model, marked.
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
    // What a newer version of its file replaced meanwhile has no facts.
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

/// Ends a backfill that has nothing left. False when others still hold some of it.
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
                // Nothing is transformed from here to the commit.
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

/// How a model takes its history: in place unless another query of it left facts that might differ.
pub fn target_for(history: &History, full_refresh: bool) -> Option<Target> {
    match (full_refresh || history.was_other && history.batches > 0, history.batches) {
        (true, _) => Some(Target::Rebuild),
        (false, 0) => None,
        (false, _) => Some(Target::InPlace),
    }
}
