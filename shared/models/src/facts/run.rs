//! Runs models over events, in the transaction of the caller: writes their facts, counts the run and quarantines refused events.
//!
//! A claim, a backfill, a redrive and a retraction differ in the events that they select and in how they mark them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use millrace::Result;
use millrace::database::StallDetector;
use millrace::dead_letter::DeadLetterQueue;
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::apply::{Applied, Refused, apply};
use super::ranges::{EventRange, LockedBatch, RunEvents};
use super::{dead_letters, statement};
use crate::deploy::catalog::Catalog;
use crate::model::Model;
use crate::runs::{RunActivity, RunCounts, RunRecord};
use crate::sql::{Statement, relation};
use crate::{columns, quarantine, work};

const LOCK_SHARED: Statement =
    Statement::new("wait for a model's table to be swapped", include_str!("lock_shared.sql"));
const LOCK_EXCLUSIVE: Statement =
    Statement::new("wait for claims of a model", include_str!("lock_exclusive.sql"));

/// A fact model and the table to which it writes.
pub struct FactTable<'m> {
    pub model: &'m Model,
    /// The name of the table in `facts`: that of the model, or of its rebuild.
    pub name: String,
    /// The columns that the query returns.
    pub columns: Vec<String>,
}

/// The result of a run.
pub struct FactsWritten<'t> {
    /// The number of rows, by model.
    pub rows: BTreeMap<String, u64>,
    refused: Vec<(&'t FactTable<'t>, Vec<Refused>)>,
}

impl<'m> FactTable<'m> {
    /// The table of a deployed model.
    pub fn deployed(model: &'m Model, catalog: &Catalog) -> Self {
        FactTable { model, name: model.name.clone(), columns: catalog.query_columns(&model.name) }
    }

    /// The table `name`, with the columns that it has in this transaction.
    pub async fn read(transaction: &Transaction<'_>, model: &'m Model, name: String) -> Result<Self> {
        let columns = columns::query_columns(transaction, &name).await?;
        Ok(FactTable { model, name, columns })
    }

    /// Writes the facts of the events in `ranges`. `only` is a further condition on the rows of the query, which have the alias
    /// `q`.
    ///
    /// # Errors
    /// Those of [`apply`].
    pub async fn insert(
        &self,
        transaction: &Transaction<'_>,
        ranges: &[EventRange],
        only: Option<&str>,
        most_refused: u64,
    ) -> Result<Applied> {
        if ranges.is_empty() {
            return Ok(Applied::default());
        }
        let statement = statement::insert(self.model, &relation(&self.name), &self.columns, only);
        apply(transaction, self.model, &statement, ranges, most_refused).await
    }
}

/// Begins a transaction that writes facts of `models`. It shares the locks of their tables with other writers, and waits for the
/// swap of a rebuilt table, which takes the lock alone.
pub async fn begin(transaction: &Transaction<'_>, models: &[&Model]) -> Result<()> {
    work::begin(transaction).await?;
    let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
    LOCK_SHARED.query(transaction, &[(&names, Type::TEXT_ARRAY)]).await?;
    Ok(())
}

/// Waits for the transactions that write the model's table, and blocks new ones.
pub async fn exclude_writers(transaction: &Transaction<'_>, model: &Model) -> Result<()> {
    LOCK_EXCLUSIVE.query(transaction, &[(&model.name, Type::TEXT)]).await?;
    Ok(())
}

/// Writes the facts of `events` to every table, and counts the run of each model.
///
/// # Errors
/// Those of [`apply`].
pub async fn write<'t>(
    transaction: &Transaction<'_>,
    tables: &'t [FactTable<'t>],
    events: &RunEvents,
    run: RunRecord,
) -> Result<FactsWritten<'t>> {
    let mut written = FactsWritten { rows: BTreeMap::new(), refused: Vec::new() };
    for table in tables {
        let started = Instant::now();
        let most_refused = match run.activity {
            // All of these events were refused before, so that their share does not indicate a faulty model.
            RunActivity::Redrive => u64::MAX,
            _ => table.model.most_refused(events.count),
        };
        let applied = table.insert(transaction, &events.ranges, None, most_refused).await?;
        let counts = RunCounts {
            event_count: events.count,
            row_count: applied.row_count,
            quarantined_count: applied.refused.len() as u64,
            duration: started.elapsed(),
        };
        run.count(transaction, &table.model.name, counts).await?;
        written.rows.insert(table.model.name.clone(), applied.row_count);
        written.refused.push((table, applied.refused));
    }
    Ok(written)
}

impl FactsWritten<'_> {
    /// The refused events, with the model that refused each.
    pub fn refused(&self) -> impl Iterator<Item = (&Model, &Refused)> {
        self.refused.iter().flat_map(|(table, refused)| refused.iter().map(|refused| (table.model, refused)))
    }

    /// The number of events that at least one model refused, for each batch.
    pub fn refused_counts(&self, batches: &[LockedBatch]) -> Vec<i64> {
        let events: BTreeSet<(Uuid, i64)> =
            self.refused().map(|(_, refused)| (refused.batch_id, refused.event_id)).collect();
        let mut counts: HashMap<Uuid, i64> = HashMap::new();
        for (batch_id, _) in events {
            *counts.entry(batch_id).or_default() += 1;
        }
        batches.iter().map(|batch| counts.get(&batch.batch_id).copied().unwrap_or_default()).collect()
    }

    /// Quarantines the refused events and sends their dead letters. This precedes the commit: a crash can repeat a dead letter but
    /// never lose one.
    pub async fn quarantine(
        &self,
        transaction: &Transaction<'_>,
        dead_letter_queue: &DeadLetterQueue,
        stall_detector: &StallDetector,
    ) -> Result<()> {
        let mut dead_letters = Vec::new();
        for (table, refused) in &self.refused {
            let of_model = dead_letters::create(transaction, table.model, refused).await?;
            quarantine::record(transaction, &table.name, &of_model).await?;
            dead_letters.extend(of_model);
        }
        stall_detector.pause(dead_letter_queue.send(&dead_letters)).await
    }
}
