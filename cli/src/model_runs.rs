//! The state of each model: the view `pipeline.model_runs`.

use millrace::Result;
use millrace::database::failure::from_postgres;
use serde::Serialize;
use tokio_postgres::GenericClient;

const MODEL_RUNS: &str = include_str!("queries/model_runs.sql");

/// One model and its last run. Ages are in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelRun {
    pub model: String,
    /// `fact`, `rollup`, `materialized_view`, `view` or `not deployed`.
    pub kind: String,
    /// `None` for a model that never ran.
    pub activity: Option<String>,
    pub outcome: Option<String>,
    pub detail: Option<String>,
    pub events: Option<i64>,
    pub rows: Option<i64>,
    pub quarantined: Option<i64>,
    pub duration_ms: Option<i64>,
    pub finished_seconds: Option<f64>,
    /// Since the last successful run.
    pub last_ok_seconds: Option<f64>,
    /// Since the first change that a rollup or materialized view does not show; `None` if it shows all changes.
    pub stale_seconds: Option<f64>,
    /// Buckets that must be recomputed; `None` if all of them must be, or none.
    pub stale_buckets: Option<i64>,
}

/// Every model, by name.
pub async fn read(client: &impl GenericClient) -> Result<Vec<ModelRun>> {
    let rows = client
        .query(MODEL_RUNS, &[])
        .await
        .map_err(|error| from_postgres("read the view pipeline.model_runs", error))?;
    Ok(rows
        .iter()
        .map(|row| ModelRun {
            model: row.get("model"),
            kind: row.get("kind"),
            activity: row.get("activity"),
            outcome: row.get("outcome"),
            detail: row.get("detail"),
            events: row.get("event_count"),
            rows: row.get("row_count"),
            quarantined: row.get("quarantined_count"),
            duration_ms: row.get("duration_ms"),
            finished_seconds: row.get("finished_seconds"),
            last_ok_seconds: row.get("last_ok_seconds"),
            stale_seconds: row.get("stale_seconds"),
            stale_buckets: row.get("stale_bucket_count"),
        })
        .collect())
}
