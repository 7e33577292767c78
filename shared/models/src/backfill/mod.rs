//! Backfills: run a model over the batches that were processed before its current version was deployed.
//!
//! A new model writes to its table while new events are processed, because facts do not depend on the order of transforms. A
//! model whose query changed writes to a new table, which replaces the old table at the end. The batches to process are rows of
//! `pipeline.backfill_batches`. The transaction that processes a batch marks it, so that an interrupted backfill continues where
//! it stopped, and several workers may run it concurrently.

mod running;
mod swap;
mod unseen;

use std::time::{Duration, Instant};

use millrace::Result;
use millrace::database::Connection;
use millrace::dead_letter::DeadLetterQueue;
use uuid::Uuid;

use crate::model::Model;
use crate::project::Project;
use crate::runs::{RunActivity, RunRecord};
use crate::transform::ClaimBounds;
use running::RunningBackfill;
pub use unseen::{BackfillTarget, Unseen, target_for, unseen};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BackfillProgress {
    pub events_done: i64,
    pub events: i64,
    pub rows: u64,
    pub quarantined: u64,
}

#[derive(Debug, Clone, Copy)]
pub struct BackfillOptions {
    pub target: BackfillTarget,
    pub bounds: ClaimBounds,
    /// The maximum number of events per second, to limit the load on the database.
    pub events_per_second: Option<u32>,
    /// No chunk begins after this time.
    pub deadline: Instant,
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
    options: BackfillOptions,
    mut progressed: impl FnMut(&BackfillProgress),
) -> Result<bool> {
    let BackfillOptions { target, deadline, .. } = options;
    // At most the events of one second per transaction, so that the load is even.
    let rate = options.events_per_second.map(|rate| rate.max(1));
    let most_events = options.bounds.events.min(rate.map_or(i64::MAX, i64::from));
    let run = RunRecord { run_id, activity: RunActivity::Backfill };
    let mut progress = BackfillProgress::default();
    let backfill = Box::pin(RunningBackfill::begin(connection, model, target, deadline)).await?;
    loop {
        let began = Instant::now();
        if began >= deadline {
            return Ok(false);
        }
        let processed = Box::pin(backfill.process(connection, dead_letter_queue, run, most_events)).await?;
        progress.rows += processed.rows;
        progress.quarantined += processed.quarantined;
        (progress.events_done, progress.events) = Box::pin(backfill.count(connection)).await?;
        progressed(&progress);
        if processed.batches > 0 {
            if let Some(rate) = rate {
                let due = Duration::from_secs_f64(processed.events as f64 / f64::from(rate));
                tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
            }
            continue;
        }
        // Add batches that a worker with an older file processed without this model meanwhile.
        if Box::pin(backfill.enqueue_more(connection)).await? > 0 {
            continue;
        }
        if Box::pin(backfill.finish(connection, project)).await? {
            return Ok(true);
        }
        // Other workers have locked the rest.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
