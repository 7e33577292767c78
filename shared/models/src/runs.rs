//! The results of each run for each model: `pipeline.runs`.

use std::time::{Duration, Instant};

use millrace::Result;
use millrace::database::Connection;
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::sql::{Parameter, Statement};

const COUNT: Statement = Statement::new("count a run in pipeline.runs", include_str!("count_run.sql"));
const RECORD: Statement = Statement::new("record a run in pipeline.runs", include_str!("record_run.sql"));

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunActivity {
    Transform,
    Refresh,
    Backfill,
    Retract,
    Redrive,
}

impl RunActivity {
    pub const ALL: [Self; 5] = [Self::Transform, Self::Refresh, Self::Backfill, Self::Retract, Self::Redrive];

    /// As in the column `activity`.
    pub const fn name(self) -> &'static str {
        match self {
            RunActivity::Transform => "transform",
            RunActivity::Refresh => "refresh",
            RunActivity::Backfill => "backfill",
            RunActivity::Retract => "retract",
            RunActivity::Redrive => "redrive",
        }
    }
}

/// The result of one transaction for a model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunCounts {
    pub event_count: u64,
    pub row_count: u64,
    pub quarantined_count: u64,
    pub duration: Duration,
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

/// A run, which may have many transactions and models.
#[derive(Debug, Clone, Copy)]
pub struct RunRecord {
    pub run_id: Uuid,
    pub activity: RunActivity,
}

impl RunRecord {
    /// Adds to the counts of the run for `model`, in the transaction that did the work.
    pub async fn count(&self, transaction: &Transaction<'_>, model: &str, counts: RunCounts) -> Result<()> {
        let parameters: [Parameter<'_>; 7] = [
            (&self.run_id, Type::UUID),
            (&model, Type::TEXT),
            (&self.activity.name(), Type::TEXT),
            (&(counts.event_count as i64), Type::INT8),
            (&(counts.row_count as i64), Type::INT8),
            (&(counts.quarantined_count as i64), Type::INT8),
            (&(counts.duration.as_millis() as i64), Type::INT8),
        ];
        COUNT.execute(transaction, &parameters).await?;
        Ok(())
    }

    /// Records that the run did not do its work for `model`. The counts of its earlier transactions stay.
    pub async fn record(
        &self,
        connection: &mut Connection,
        model: &str,
        outcome: RunOutcome,
        detail: &str,
        deadline: Instant,
    ) -> Result<()> {
        let parameters: [Parameter<'_>; 5] = [
            (&self.run_id, Type::UUID),
            (&model, Type::TEXT),
            (&self.activity.name(), Type::TEXT),
            (&outcome.name(), Type::TEXT),
            (&detail, Type::TEXT),
        ];
        RECORD.query_alone(connection, deadline, &parameters).await?;
        Ok(())
    }
}
