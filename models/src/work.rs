//! What every transaction of models begins with.

use millrace::Result;
use millrace::database::failure::from_postgres;
use tokio_postgres::Transaction;

const SETTINGS: &str = include_str!("work_settings.sql");

/// Takes the role that owns everything in `facts`, and settings under which a query means the same wherever it runs.
pub async fn begin(transaction: &Transaction<'_>) -> Result<()> {
    transaction
        .query_typed(SETTINGS, &[])
        .await
        .map_err(|error| from_postgres("take the role millrace_transform", error))?;
    Ok(())
}
