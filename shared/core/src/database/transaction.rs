//! Named transactions with retries.
//!
//! An attempt without a response may have been committed, or may still be committed. Therefore a transaction must do nothing if
//! an earlier attempt has been committed: it claims a unique key first.

use std::time::{Duration, Instant};

use tokio_postgres::Transaction;
use tracing::{debug, info};

use super::failure::from_postgres;
use super::{Connection, Session};
use crate::failpoint::{self, Moment};
use crate::metrics::{self, names};
use crate::{Code, Error, Kind, Policy, Result};

/// The backoff before the first retry. It doubles up to [`LONGEST_BACKOFF`].
const FIRST_BACKOFF: Duration = Duration::from_millis(20);
const LONGEST_BACKOFF: Duration = Duration::from_secs(2);
impl Connection {
    /// Runs `work` in one transaction and commits it. `name` is for logs.
    ///
    /// - Deadlocks and serialization failures are retried immediately.
    /// - Other temporary failures (a lost connection, a fail-over, a full disk) are retried on a new connection, with an
    ///   increasing backoff.
    /// - An attempt whose server sends nothing for the stall timeout of the connection's settings is retried likewise.
    /// - Nothing is retried after `deadline`, and an attempt is cancelled at `deadline`.
    pub async fn run_tx<T>(
        &mut self,
        name: &'static str,
        deadline: Instant,
        mut work: impl AsyncFnMut(&Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        self.run(name, deadline, async |session| {
            let transaction =
                session.transaction().await.map_err(|error| from_postgres("begin a transaction", error))?;
            // When the transaction is dropped on an error, it sends a rollback before anything else on this connection.
            let value = work(&transaction).await?;
            failpoint::reach(name, Moment::Commit);
            transaction.commit().await.map_err(|error| from_postgres("commit", error))?;
            Ok(value)
        })
        .await
    }

    /// Runs `work`, a single statement, in its own transaction: two round trips fewer than [`Self::run_tx`], with the same
    /// retries.
    pub async fn run_statement<T>(
        &mut self,
        name: &'static str,
        deadline: Instant,
        work: impl AsyncFnMut(&mut Session) -> Result<T>,
    ) -> Result<T> {
        self.run(name, deadline, work).await
    }

    async fn run<T>(
        &mut self,
        name: &'static str,
        deadline: Instant,
        mut work: impl AsyncFnMut(&mut Session) -> Result<T>,
    ) -> Result<T> {
        let mut pause = FIRST_BACKOFF;
        let mut attempt = 1_u32;
        let mut before: Option<Error> = None;
        loop {
            let started = Instant::now();
            let error = match self.attempt(name, deadline, &mut work).await {
                Ok(value) => {
                    let duration_ms = started.elapsed().as_millis() as u64;
                    debug!(transaction = name, attempt, duration_ms, "committed");
                    return Ok(value);
                }
                // The reason of the last attempt is more useful than the deadline that ended its retry.
                Err(error) if error.code() == Code::DatabaseTimeout => return Err(before.unwrap_or(error)),
                Err(error) => error,
            };
            match error.kind().policy() {
                Policy::RetryNow => {}
                // The state of the old connection is unknown.
                Policy::RetryLater => self.discard(),
                Policy::DeadLetter | Policy::Stop => return Err(error),
            }
            if Instant::now() + pause >= deadline {
                return Err(error);
            }
            info!(
                transaction = name,
                attempt,
                code = error.code().name(),
                error = error.chain(),
                "trying again"
            );
            metrics::add(names::DATABASE_RETRIES, 1);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_BACKOFF);
            attempt += 1;
            before = Some(error);
        }
    }

    /// Runs one attempt, until it ends, the deadline is reached, or the server stalls. The connection of a cancelled attempt is
    /// dropped.
    async fn attempt<T>(
        &mut self,
        name: &'static str,
        deadline: Instant,
        work: &mut impl AsyncFnMut(&mut Session) -> Result<T>,
    ) -> Result<T> {
        let (stall_detector, limit) = (self.stall_detector(), self.stall_timeout());
        stall_detector.activity();
        if std::mem::replace(&mut self.in_transaction, true) {
            self.discard();
        }
        let stalled = async {
            match limit {
                Some(limit) => stall_detector.stalled(limit).await,
                None => std::future::pending().await,
            }
        };
        let worked = async {
            failpoint::reach(name, Moment::Before);
            let value = work(self.session().await?).await?;
            failpoint::reach(name, Moment::After);
            Ok(value)
        };
        let given_up = tokio::select! {
            biased;
            outcome = worked => {
                self.in_transaction = false;
                return outcome;
            }
            () = tokio::time::sleep_until(deadline.into()) => {
                Error::new(Kind::Transient, format!("{name}: no answer before the deadline"))
                    .with_code(Code::DatabaseTimeout)
            }
            () = stalled => {
                let what = format!("{name}: no response from the server for {:?}", limit.unwrap_or_default());
                Error::new(Kind::Transient, what).with_code(Code::DatabaseStalled)
            }
        };
        self.in_transaction = false;
        self.discard();
        Err(given_up)
    }
}
