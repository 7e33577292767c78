//! The counts of each source and event type, and whether they reconcile with each other and with the rows.
//!
//! Counts, lag and models are read from the views that alarms and dashboards read.

use millrace::Result;
use millrace::database::failure::from_postgres;
use serde::Serialize;
use tokio_postgres::{Client, Transaction};

use crate::lag::{self, Lag};
use crate::model_runs::{self, ModelRun};

const BATCH_COUNTS: &str = include_str!("queries/batch_counts.sql");
const BATCHES_THAT_DIFFER: &str = include_str!("queries/batches_that_differ.sql");
const PROCESSED_BATCHES_THAT_DIFFER: &str = include_str!("queries/processed_batches_that_differ.sql");
const LOADS_THAT_DIFFER: &str = include_str!("queries/loads_that_differ.sql");

/// Counts of one source and event type.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventType {
    pub source: String,
    pub event_type: String,
    /// Versions of objects.
    pub files: i64,
    pub files_under_way: i64,
    pub files_failed: i64,
    pub batches: i64,
    pub read: i64,
    pub staged: i64,
    pub rejected: i64,
    pub repaired: i64,
    /// Staged rows that are not yet processed.
    pub unprocessed: i64,
    /// Rows of processed batches = transformed + quarantined + unmodelled.
    pub processed: i64,
    pub transformed: i64,
    /// Events that a model refused.
    pub quarantined: i64,
    /// Events that no model reads.
    pub unmodelled: i64,
    pub oldest_unprocessed_seconds: Option<f64>,
    /// Rows per second, over the last minute and over the last hour.
    pub rows_per_second_minute: f64,
    pub rows_per_second_hour: f64,
    /// The difference between read and staged + rejected.
    #[serde(skip)]
    pub read_difference: i64,
}

/// Two counts that differ but must be equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Discrepancy {
    /// The counts that were compared.
    pub check: &'static str,
    /// The origin of the batch or load.
    pub origin: String,
    pub expected: i64,
    pub found: i64,
}

/// A snapshot of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub event_types: Vec<EventType>,
    pub lag: Vec<Lag>,
    pub models: Vec<ModelRun>,
    /// At most twenty per check.
    pub discrepancies: Vec<Discrepancy>,
    /// Whether the rows of staging.events were counted.
    pub rows_counted: bool,
}

impl Report {
    /// Reads everything in one snapshot, so that a concurrent load does not cause differences.
    pub async fn read(client: &mut Client, count_rows: bool) -> Result<Self> {
        let failed = |error| from_postgres("read the ledger", error);
        let transaction = client
            .build_transaction()
            .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .await
            .map_err(failed)?;
        let rows = transaction.query(BATCH_COUNTS, &[]).await.map_err(failed)?;
        let event_types: Vec<EventType> = rows
            .iter()
            .map(|row| EventType {
                source: row.get("source"),
                event_type: row.get("event_type"),
                files: row.get("file_count"),
                files_under_way: row.get("under_way_count"),
                files_failed: row.get("failed_count"),
                batches: row.get("batch_count"),
                read: row.get("read_count"),
                staged: row.get("staged_count"),
                rejected: row.get("rejected_count"),
                repaired: row.get("repaired_count"),
                unprocessed: row.get("unprocessed_count"),
                processed: row.get("processed_count"),
                transformed: row.get("transformed_count"),
                quarantined: row.get("quarantined_count"),
                unmodelled: row.get("unmodelled_count"),
                oldest_unprocessed_seconds: row.get("oldest_unprocessed_seconds"),
                rows_per_second_minute: row.get("rows_per_second_minute"),
                rows_per_second_hour: row.get("rows_per_second_hour"),
                read_difference: row.get("read_difference"),
            })
            .collect();
        let mut discrepancies: Vec<Discrepancy> = event_types
            .iter()
            .filter(|counts| counts.read_difference != 0)
            .map(|counts| Discrepancy {
                check: "batches: read = staged + rejected",
                origin: format!("{}/{}", counts.source, counts.event_type),
                expected: 0,
                found: counts.read_difference,
            })
            .collect();
        let loads = "a load's record count = what its batches read";
        discrepancies.extend(differences(&transaction, LOADS_THAT_DIFFER, loads).await?);
        let processed = "a processed batch's staged count = transformed + quarantined + unmodelled";
        discrepancies.extend(differences(&transaction, PROCESSED_BATCHES_THAT_DIFFER, processed).await?);
        if count_rows {
            let batches = "a batch's staged count = its rows in staging.events";
            discrepancies.extend(differences(&transaction, BATCHES_THAT_DIFFER, batches).await?);
        }
        let (lag, models) = (lag::read(&transaction).await?, model_runs::read(&transaction).await?);
        transaction.commit().await.map_err(failed)?;
        Ok(Report { event_types, lag, models, discrepancies, rows_counted: count_rows })
    }

    pub fn reconciles(&self) -> bool {
        self.discrepancies.is_empty()
    }
}

async fn differences(
    transaction: &Transaction<'_>,
    query: &str,
    check: &'static str,
) -> Result<Vec<Discrepancy>> {
    let rows =
        transaction.query(query, &[]).await.map_err(|error| from_postgres("reconcile the ledger", error))?;
    Ok(rows
        .iter()
        .map(|row| Discrepancy {
            check,
            origin: row.get("origin"),
            expected: row.get("expected"),
            found: row.get("found"),
        })
        .collect())
}
