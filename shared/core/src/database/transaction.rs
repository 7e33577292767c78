//! Named transactions with retries.
//!
//! An attempt whose answer was lost, or is still on its way, may have been committed, or may be yet. So whatever runs here
//! must be a no-op when it finds its own result: it claims a unique key first.

use std::time::{Duration, Instant};

use tokio_postgres::Transaction;
use tracing::{debug, info};

use super::failure::from_postgres;
use super::{Connection, Session};
use crate::metrics::{self, names};
use crate::{Code, Error, Kind, Policy, Result};

/// The first pause before another try; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
impl Connection {
    /// Runs `work` in one transaction and commits it. `name` is for logs.
    ///
    /// - Deadlocks and serialization failures are retried immediately.
    /// - Whatever else may pass (a lost connection, a fail-over, a full disk) runs again on a new connection, with a
    ///   growing pause.
    /// - So does an attempt whose server has fallen silent for the stall timeout of the connection's settings.
    /// - Nothing runs again past `deadline`, and nothing goes on past it.
    pub async fn run_tx<T>(
        &mut self,
        name: &'static str,
        deadline: Instant,
        mut work: impl AsyncFnMut(&Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        self.run(name, deadline, async |session| {
            let transaction =
                session.transaction().await.map_err(|error| from_postgres("begin a transaction", error))?;
            // Dropped on an error, the transaction sends its rollback before anything else on this connection.
            let value = work(&transaction).await?;
            transaction.commit().await.map_err(|error| from_postgres("commit", error))?;
            Ok(value)
        })
        .await
    }

    /// Runs `work`, a single statement, which is its own transaction: two round trips less than [`Self::run_tx`], and the
    /// same retries.
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
        let mut pause = FIRST_PAUSE;
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
                // Why it was tried again says more than that time ran out meanwhile.
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
            pause = (pause * 2).min(LONGEST_PAUSE);
            attempt += 1;
            before = Some(error);
        }
    }

    /// One attempt, until it ends, the deadline passes, or the server is silent for too long. One that is given up half
    /// way leaves no connection behind.
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
        let worked = async { work(self.session().await?).await };
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
                let what = format!("{name}: nothing moved for {:?}", limit.unwrap_or_default());
                Error::new(Kind::Transient, what).with_code(Code::DatabaseStalled)
            }
        };
        self.in_transaction = false;
        self.discard();
        Err(given_up)
    }
}
