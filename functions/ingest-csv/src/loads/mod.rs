//! The record of loads: `staging.loads` holds the plan of each attempt at an object version, `staging.load_results` its
//! outcome.

use std::time::{Instant, SystemTime};

use millrace::database::Connection;
use millrace::database::failure::from_postgres;
use millrace::{Error, Kind, LoadOutcome, Result};
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql, Type};
use uuid::Uuid;

use crate::object::Object;
use crate::plan::LoadPlan;
use millrace::notification::ObjectCreated;

const FIND_LOAD: &str = include_str!("find_load.sql");
const START_LOAD: &str = include_str!("start_load.sql");
const BEGIN_ATTEMPT: &str = include_str!("begin_attempt.sql");
const COMMITTED_CHUNKS: &str = include_str!("committed_chunks.sql");
const FIND_REDRIVEN: &str = include_str!("find_redriven_load.sql");
const FINISH_REDRIVEN: &str = include_str!("finish_redriven.sql");
const FINISH_LOAD: &str = include_str!("finish_load.sql");

/// A load that this invocation or an earlier one started.
#[derive(Debug, Clone)]
pub struct Load {
    pub id: Uuid,
    pub plan: LoadPlan,
    /// Starts at 1 and grows by one each time the file's dead letter is redriven.
    pub attempt: u32,
    /// Set when the load has ended.
    pub outcome: Option<LoadOutcome>,
}

impl Load {
    /// Whether this load, the last of its object version, makes attempt `attempt` unnecessary: it has ended, or a later
    /// attempt is in progress.
    pub fn leaves_nothing_to(&self, attempt: u32) -> bool {
        match self.outcome {
            Some(outcome) => attempt <= self.attempt || outcome.is_good(),
            None => attempt < self.attempt,
        }
    }
}

/// A chunk that is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommittedChunk {
    pub first_record: u64,
    pub next_record: u64,
    pub byte_end: u64,
    pub next_line: u64,
    pub staged: u64,
    pub rejected: u64,
    pub repaired: u64,
}

/// The outcome of a load.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    pub outcome: LoadOutcome,
    pub record_count: u64,
    pub reason: Option<String>,
}

/// The last attempt at an object version.
pub async fn find(connection: &mut Connection, origin: &str, deadline: Instant) -> Result<Option<Load>> {
    connection
        .run_tx("find load", deadline, async |transaction| {
            let row = transaction
                .query_typed_opt(FIND_LOAD, &[(&origin, Type::TEXT)])
                .await
                .map_err(|error| from_postgres("look up the load in staging.loads", error))?;
            let Some(row) = row else { return Ok(None) };
            let plan = read_plan(&row)?;
            let attempt: i32 = row.get("attempt");
            Ok(Some(Load {
                id: row.get("load_id"),
                plan,
                attempt: attempt.unsigned_abs(),
                outcome: row.get::<_, Option<&str>>("outcome").and_then(LoadOutcome::parse),
            }))
        })
        .await
}

/// Records the start of a load with `plan`. When another worker recorded it first, the plan of that worker stays.
pub async fn start(
    connection: &mut Connection,
    object: &Object,
    created: &ObjectCreated,
    plan: &LoadPlan,
    deadline: Instant,
) -> Result<Load> {
    let load_id = Uuid::now_v7();
    let origin = object.versioned.origin();
    let stored = serde_json::to_value(plan)
        .map_err(|error| Error::new(Kind::Bug, "write the plan of a load").with_source(error))?;
    connection
        .run_tx("start load", deadline, async |transaction| {
            let modified_at: Option<SystemTime> = object.modified_at;
            let (name, on_new_version) = (object.versioned.name(), plan.options.on_new_version.name());
            let (stored, attempt) = (Json(&stored), i32::try_from(created.attempt()).unwrap_or(i32::MAX));
            let parameters: [(&(dyn ToSql + Sync), Type); 10] = [
                (&load_id, Type::UUID),
                (&origin, Type::TEXT),
                (&name, Type::TEXT),
                (&plan.source, Type::TEXT),
                (&plan.event_type, Type::TEXT),
                (&created.sequencer, Type::TEXT),
                (&modified_at, Type::TIMESTAMPTZ),
                (&on_new_version, Type::TEXT),
                (&stored, Type::JSONB),
                (&attempt, Type::INT4),
            ];
            let statement = match created.attempt() {
                1 => transaction.execute_typed(START_LOAD, &parameters[..9]),
                _ => transaction.execute_typed(BEGIN_ATTEMPT, &parameters),
            };
            statement.await.map_err(|error| from_postgres("record the load in staging.loads", error))?;
            Ok(())
        })
        .await?;
    find(connection, &origin, deadline)
        .await?
        .ok_or_else(|| Error::new(Kind::Bug, "a load was recorded and cannot be found"))
}

/// The load of a record that is redriven.
pub struct RedrivenLoad {
    pub plan: LoadPlan,
    /// A newer version of the file, or a later attempt at it, has superseded it.
    pub is_hidden: bool,
}

/// Finds the load that read a record.
pub async fn find_redriven(
    connection: &mut Connection,
    load_id: Uuid,
    deadline: Instant,
) -> Result<Option<RedrivenLoad>> {
    connection
        .run_statement("find the load of a record", deadline, async |session| {
            let rows = session
                .query_typed(FIND_REDRIVEN, &[(&load_id, Type::UUID)])
                .await
                .map_err(|error| from_postgres("find the load of a record in staging.loads", error))?;
            let Some(row) = rows.first() else { return Ok(None) };
            Ok(Some(RedrivenLoad { plan: read_plan(row)?, is_hidden: row.get("is_hidden") }))
        })
        .await
}

/// Hides a redriven record whose load was superseded in the meantime.
pub async fn finish_redriven(connection: &mut Connection, load_id: Uuid, deadline: Instant) -> Result<()> {
    connection
        .run_statement("finish a redriven record", deadline, async |session| {
            session
                .execute_typed(FINISH_REDRIVEN, &[(&load_id, Type::UUID)])
                .await
                .map_err(|error| from_postgres("hide a record whose file was replaced", error))?;
            Ok(())
        })
        .await
}

fn read_plan(row: &Row) -> Result<LoadPlan> {
    let Json(plan): Json<serde_json::Value> = row.get("plan");
    serde_json::from_value(plan).map_err(|error| {
        Error::new(Kind::Bug, "read the stored plan of a load; was it stored by a newer version?")
            .with_source(error)
    })
}

/// The committed chunks of a load, in the order of the file.
pub async fn committed_chunks(
    connection: &mut Connection,
    load_id: Uuid,
    deadline: Instant,
) -> Result<Vec<CommittedChunk>> {
    connection
        .run_tx("read committed chunks", deadline, async |transaction| {
            let rows = transaction
                .query_typed(COMMITTED_CHUNKS, &[(&load_id, Type::UUID)])
                .await
                .map_err(|error| from_postgres("read a load's batches", error))?;
            let count = |row: &Row, name: &str| row.get::<_, i64>(name).unsigned_abs();
            Ok(rows
                .iter()
                .map(|row| CommittedChunk {
                    first_record: count(row, "first_record"),
                    next_record: count(row, "next_record"),
                    byte_end: count(row, "byte_end"),
                    next_line: count(row, "next_line"),
                    staged: count(row, "staged_count"),
                    rejected: count(row, "rejected_count"),
                    repaired: count(row, "repaired_count"),
                })
                .collect())
        })
        .await
}

/// Records the outcome of a load, once. Where a new version replaces older ones, the newest version wins in any order.
pub async fn finish(
    connection: &mut Connection,
    load_id: Uuid,
    ending: &Ending,
    deadline: Instant,
) -> Result<()> {
    let record_count = i64::try_from(ending.record_count).unwrap_or(i64::MAX);
    connection
        .run_tx("finish load", deadline, async |transaction| {
            transaction
                .execute_typed(
                    FINISH_LOAD,
                    &[
                        (&load_id, Type::UUID),
                        (&ending.outcome.name(), Type::TEXT),
                        (&record_count, Type::INT8),
                        (&ending.reason, Type::TEXT),
                    ],
                )
                .await
                .map_err(|error| from_postgres("record how the load ended", error))?;
            Ok(())
        })
        .await
}
