//! The role and settings of every transaction of models.

use std::time::{Duration, Instant};

use millrace::database::Connection;
use millrace::database::failure::postgres_error;
use millrace::{Error, Policy, Result};
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use crate::sql::Statement;

const LOCK_TIMEOUT: Statement = Statement::new("set a lock timeout", include_str!("lock_timeout.sql"));
const SETTINGS: Statement =
    Statement::new("set the role millrace_transform", include_str!("work_settings.sql"));

/// Sets the role that owns everything in `facts`, and settings that make the results of a query independent of the session.
pub async fn begin(transaction: &Transaction<'_>) -> Result<()> {
    SETTINGS.query(transaction, &[]).await?;
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
            LOCK_TIMEOUT.query(transaction, &[(&limit, Type::TEXT)]).await?;
            match work(transaction).await {
                // The commit that follows rolls back a failed transaction.
                Err(error)
                    if error.kind().policy() == Policy::RetryLater && postgres_error(&error).is_some() =>
                {
                    Ok(Err(error))
                }
                other => other.map(Ok),
            }
        })
        .await;
    match outcome {
        Ok(outcome) => Ok(outcome),
        Err(error) if error.kind().is_temporary() => Err(error),
        Err(error) => Ok(Err(error)),
    }
}
