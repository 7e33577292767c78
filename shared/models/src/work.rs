//! The role and settings of every transaction of models.

use std::time::{Duration, Instant};

use millrace::database::Connection;
use millrace::database::failure::{from_postgres, postgres_error};
use millrace::{Error, Kind, Result};
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

const LOCK_TIMEOUT: &str = include_str!("lock_timeout.sql");
const SETTINGS: &str = include_str!("work_settings.sql");

/// Sets the role that owns everything in `facts`, and settings that make the results of a query independent of the session.
pub async fn begin(transaction: &Transaction<'_>) -> Result<()> {
    transaction
        .query_typed(SETTINGS, &[])
        .await
        .map_err(|error| from_postgres("set the role millrace_transform", error))?;
    Ok(())
}

/// Runs a transaction with a lock timeout, without retries of errors of the server. Such an error, for example a lock timeout, is the
/// inner result, so that the caller can continue with other work.
///
/// # Errors
/// When the database cannot be reached.
pub async fn try_once<T>(
    connection: &mut Connection,
    name: &'static str,
    lock_timeout: Duration,
    deadline: Instant,
    mut work: impl AsyncFnMut(&Transaction<'_>) -> Result<T>,
) -> Result<Result<T, Error>> {
    let outcome = connection
        .run_tx(name, deadline, async |transaction| {
            begin(transaction).await?;
            // Zero would disable the timeout.
            let limit = format!("{}ms", lock_timeout.as_millis().max(1));
            transaction
                .query_typed(LOCK_TIMEOUT, &[(&limit, Type::TEXT)])
                .await
                .map_err(|error| from_postgres("set a lock timeout", error))?;
            match work(transaction).await {
                // The commit that follows rolls back a failed transaction.
                Err(error) if error.kind() == Kind::Transient && postgres_error(&error).is_some() => {
                    Ok(Err(error))
                }
                other => other.map(Ok),
            }
        })
        .await;
    match outcome {
        Ok(outcome) => Ok(outcome),
        Err(error) if matches!(error.kind(), Kind::Transient | Kind::Conflict) => Err(error),
        Err(error) => Ok(Err(error)),
    }
}
