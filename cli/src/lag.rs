//! Unprocessed batches and the recent time from receipt to facts: the view `pipeline.lag`.

use millrace::Result;
use millrace::database::failure::from_postgres;
use serde::Serialize;
use tokio_postgres::GenericClient;
use uuid::Uuid;

const LAG: &str = include_str!("queries/lag.sql");

/// The lag of one source and event type. Ages are in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lag {
    pub source: String,
    pub event_type: String,
    pub unprocessed_batches: i64,
    pub unprocessed_rows: i64,
    /// `None` if no batch is unprocessed.
    pub oldest_batch_id: Option<Uuid>,
    pub oldest_seconds: Option<f64>,
    pub newest_received_seconds: Option<f64>,
    pub newest_processed_seconds: Option<f64>,
    /// From receipt to facts, over the last hour; `None` if nothing was transformed.
    pub transform_seconds_p50: Option<f64>,
    pub transform_seconds_p95: Option<f64>,
}

/// Every source and event type with a batch, by name.
pub async fn read(client: &impl GenericClient) -> Result<Vec<Lag>> {
    let rows =
        client.query(LAG, &[]).await.map_err(|error| from_postgres("read the view pipeline.lag", error))?;
    Ok(rows
        .iter()
        .map(|row| Lag {
            source: row.get("source"),
            event_type: row.get("event_type"),
            unprocessed_batches: row.get("unprocessed_batch_count"),
            unprocessed_rows: row.get("unprocessed_row_count"),
            oldest_batch_id: row.get("oldest_batch_id"),
            oldest_seconds: row.get("oldest_seconds"),
            newest_received_seconds: row.get("newest_received_seconds"),
            newest_processed_seconds: row.get("newest_processed_seconds"),
            transform_seconds_p50: row.get("transform_seconds_p50"),
            transform_seconds_p95: row.get("transform_seconds_p95"),
        })
        .collect())
}
