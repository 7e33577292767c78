//! The results of each run for each model: `pipeline.runs`.

use std::time::{Duration, Instant};

use millrace::Result;
use millrace::database::Connection;
use millrace::database::failure::from_postgres;
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;
use uuid::Uuid;

const COUNT: &str = include_str!("count_run.sql");
const RECORD: &str = include_str!("record_run.sql");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    Transform,
    Refresh,
    Backfill,
    Retract,
    Redrive,
}

impl Activity {
    pub const ALL: [Activity; 5] =
        [Activity::Transform, Activity::Refresh, Activity::Backfill, Activity::Retract, Activity::Redrive];

    /// As in the column `activity`.
    pub const fn name(self) -> &'static str {
        match self {
            Activity::Transform => "transform",
            Activity::Refresh => "refresh",
            Activity::Backfill => "backfill",
            Activity::Retract => "retract",
            Activity::Redrive => "redrive",
        }
    }
}

/// The result of one transaction for a model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    pub event_count: u64,
    pub row_count: u64,
    pub quarantined_count: u64,
    pub duration: Duration,
}

/// Adds to the counts of a run, in the transaction that did the work.
pub async fn count(
    transaction: &Transaction<'_>,
    run_id: Uuid,
    model: &str,
    activity: Activity,
    done: &Done,
) -> Result<()> {
    transaction
        .execute_typed(
            COUNT,
            &[
                (&run_id, Type::UUID),
                (&model, Type::TEXT),
                (&activity.name(), Type::TEXT),
                (&(done.event_count as i64), Type::INT8),
                (&(done.row_count as i64), Type::INT8),
                (&(done.quarantined_count as i64), Type::INT8),
                (&(done.duration.as_millis() as i64), Type::INT8),
            ],
        )
        .await
        .map_err(|error| from_postgres("count a run in pipeline.runs", error))?;
    Ok(())
}

/// The outcome of a run for a model, in `pipeline.runs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunOutcome {
    Ok,
    /// Events were quarantined, or a test with the severity `warn` failed.
    Warned,
    Failed,
    Skipped,
}

impl RunOutcome {
    pub const ALL: [RunOutcome; 4] =
        [RunOutcome::Ok, RunOutcome::Warned, RunOutcome::Failed, RunOutcome::Skipped];

    /// As in the column `outcome`.
    pub const fn name(self) -> &'static str {
        match self {
            RunOutcome::Ok => "ok",
            RunOutcome::Warned => "warned",
            RunOutcome::Failed => "failed",
            RunOutcome::Skipped => "skipped",
        }
    }
}

/// Writes down that a run did not get to do what it was to do to a model. What it did before stays counted.
pub async fn record(
    connection: &mut Connection,
    run_id: Uuid,
    model: &str,
    activity: Activity,
    (outcome, detail): (RunOutcome, &str),
    deadline: Instant,
) -> Result<()> {
    let outcome = outcome.name();
    connection
        .run_statement("record a run", deadline, async |session| {
            session
                .execute_typed(
                    RECORD,
                    &[
                        (&run_id, Type::UUID),
                        (&model, Type::TEXT),
                        (&activity.name(), Type::TEXT),
                        (&outcome, Type::TEXT),
                        (&detail, Type::TEXT),
                    ],
                )
                .await
                .map_err(|error| from_postgres("record a run in pipeline.runs", error))?;
            Ok(())
        })
        .await
}
