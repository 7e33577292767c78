//! Named transactions with retries.

use std::time::{Duration, Instant};

use tokio_postgres::Transaction;
use tracing::{debug, info};

use super::Connection;
use super::failure::from_postgres;
use crate::{Error, Kind, Policy, Result};

/// The first pause before another try; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Connection {
    /// Runs `work` in one transaction and commits it.
    ///
    /// - Deadlocks and serialization failures run again at once.
    /// - Whatever else may pass (a lost connection, a fail-over, a full disk) runs again on a new connection, with a
    ///   growing pause.
    /// - So does an attempt whose server has fallen silent for the stall timeout of the connection's settings.
    /// - Nothing runs again past `deadline`, and nothing goes on past it.
    ///
    /// A commit whose answer was lost, or is still on its way, may have happened or happen yet, so `work` must be a no-op when it finds its own result: claim a
    /// unique key first. `name` is for logs.
    pub async fn run_tx<T>(
        &mut self,
        name: &'static str,
        deadline: Instant,
        mut work: impl AsyncFnMut(&Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1_u32;
        let mut before: Option<Error> = None;
        loop {
            let started = Instant::now();
            let (silence, limit) = (self.silence(), self.stall_timeout());
            silence.broken();
            if std::mem::replace(&mut self.in_transaction, true) {
                self.discard();
            }
            let stalled = async {
                match limit {
                    Some(limit) => silence.lasts(limit).await,
                    None => std::future::pending().await,
                }
            };
            let mut given_up = true;
            let outcome = tokio::select! {
                biased;
                outcome = self.attempt(&mut work) => {
                    given_up = false;
                    outcome
                }
                () = tokio::time::sleep_until(deadline.into()) => {
                    let what = format!("{name}: no answer before the deadline");
                    // Why it was tried again says more than that time ran out meanwhile.
                    Err(before.take().unwrap_or_else(|| {
                        Error::new(Kind::Transient, what).with_code("database_timeout")
                    }))
                }
                () = stalled => {
                    let what = format!("{name}: nothing moved for {:?}", limit.unwrap_or_default());
                    Err(Error::new(Kind::Transient, what).with_code("database_stalled"))
                }
            };
            self.in_transaction = false;
            if given_up {
                self.discard();
            }
            let error = match outcome {
                Ok(value) => {
                    debug!(
                        transaction = name,
                        attempt,
                        duration_ms = started.elapsed().as_millis() as u64,
                        "committed"
                    );
                    return Ok(value);
                }
                Err(error) => error,
            };
            match error.kind().policy() {
                Policy::RetryNow => {}
                // What state the old connection is in is anybody's guess.
                Policy::RetryLater => self.discard(),
                Policy::DeadLetter | Policy::Stop => return Err(error),
            }
            if Instant::now() + pause >= deadline {
                return Err(error);
            }
            info!(transaction = name, attempt, error = error.chain(), "trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            attempt += 1;
            before = Some(error);
        }
    }

    async fn attempt<T>(&mut self, work: &mut impl AsyncFnMut(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let client = self.client().await?;
        let transaction =
            client.transaction().await.map_err(|error| from_postgres("begin a transaction", error))?;
        // Dropped on an error, the transaction sends its rollback before anything else on this connection.
        let value = work(&transaction).await?;
        transaction.commit().await.map_err(|error| from_postgres("commit", error))?;
        Ok(value)
    }
}
