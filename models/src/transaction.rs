//! What holds in every transaction that models run in.

use std::time::Duration;

use millrace::Result;
use millrace::database::failure::from_postgres;
use tokio_postgres::Transaction;

/// Makes what SQL means independent of who runs it, until the transaction ends. `date_trunc('day', …)` is another bucket
/// in another time zone, and a connection that took the role on by `set role` has not its search path.
pub async fn settle(transaction: &Transaction<'_>, lock_timeout: Duration) -> Result<()> {
    let sql = format!(
        "set local search_path = staging, facts, pg_temp; set local timezone = 'UTC'; set local lock_timeout = {}",
        // Zero would be no limit at all.
        lock_timeout.as_millis().max(1)
    );
    transaction.batch_execute(&sql).await.map_err(|error| from_postgres("set up a transaction", error))
}
