//! The task that writes: one connection, one flush at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace::batch::{self, Batch, BatchBuilder};
use millrace::clock::ReceivedAt;
use millrace::copy::find_refused_rows;
use millrace::database::Connection;
use millrace::database::failure::{PostgresError, refused_rows};
use millrace::metrics::{self, names};
use millrace::{Code, Error, Kind, Result, ledger};
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::types::Type;
use tracing::{debug, info, warn};

use super::flush::Flush;
use super::group::{self, FlushBounds};
use super::{Delivery, NotStored, Stored};

const EXPIRE_DELIVERY_KEYS: &str = include_str!("expire_delivery_keys.sql");
/// Expired keys are deleted once per this number of flushes, after the responses, and at most `EXPIRE_AT_MOST` of them.
const EXPIRE_EVERY: u64 = 1_000;
const EXPIRE_AT_MOST: i32 = 10_000;
/// The capacity of the queue of waiting requests. An execution environment handles fewer concurrently.
const WAITING: usize = 1_024;

/// Sends deliveries to the [`Writer`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    sender: mpsc::Sender<WaitingDelivery>,
}

#[derive(Debug)]
struct WaitingDelivery {
    delivery: Arc<Delivery>,
    answer: oneshot::Sender<StoreResult>,
}

type StoreResult = std::result::Result<Stored, NotStored>;

impl Store {
    /// Waits until the delivery is committed or has failed.
    pub async fn put(&self, delivery: Arc<Delivery>) -> StoreResult {
        let (answer, receiver) = oneshot::channel();
        let ended = || Arc::new(Error::new(Kind::Bug, "the task that stores deliveries ended"));
        self.sender
            .send(WaitingDelivery { delivery, answer })
            .await
            .map_err(|_| NotStored::Failed(ended()))?;
        receiver.await.unwrap_or_else(|_| Err(NotStored::Failed(ended())))
    }
}

/// Writes the deliveries that the [`Store`] sends.
pub struct Writer {
    connection: Connection,
    receiver: mpsc::Receiver<WaitingDelivery>,
    bounds: FlushBounds,
    /// The time limit of one flush, including retries and reconnecting.
    timeout: Duration,
    flushes: u64,
}

/// Creates a store and its writer.
pub fn open(connection: Connection, bounds: FlushBounds, timeout: Duration) -> (Store, Writer) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Store { sender }, Writer { connection, receiver, bounds, timeout, flushes: 0 })
}

impl Writer {
    /// Runs until every [`Store`] is dropped.
    pub async fn run(mut self) {
        let mut waiting = VecDeque::new();
        loop {
            if waiting.is_empty() {
                match self.receiver.recv().await {
                    Some(first) => waiting.push_back(first),
                    None => return,
                }
            }
            while let Ok(more) = self.receiver.try_recv() {
                waiting.push_back(more);
            }
            // The request timed out: its delivery is already in the dead-letter queue or was answered 503.
            waiting.retain(|waiting: &WaitingDelivery| !waiting.answer.is_closed());
            if waiting.is_empty() {
                continue;
            }
            let group = group::next(&mut waiting, self.bounds, |waiting| &waiting.delivery);
            self.write(group).await;
            self.flushes += 1;
            if self.flushes.is_multiple_of(EXPIRE_EVERY) {
                self.expire_delivery_keys().await;
            }
        }
    }

    /// Writes a group and answers every request in it.
    async fn write(&mut self, group: Vec<WaitingDelivery>) {
        let deadline = Instant::now() + self.timeout;
        let mut open = Vec::from([group]);
        while let Some(mut group) = open.pop() {
            let error = match self.flush(&group, deadline).await {
                Ok(outcomes) => {
                    for (waiting, stored) in group.into_iter().zip(outcomes) {
                        answer(waiting.answer, Ok(stored));
                    }
                    continue;
                }
                Err(error) => error,
            };
            let is_data = refused_rows(&error).is_some();
            if is_data && group.len() > 1 {
                // PostgreSQL refuses an event of the group. Its delivery must fail alone.
                let second = group.split_off(group.len() / 2);
                open.push(second);
                open.push(group);
                continue;
            }
            let refused = if is_data {
                match group.first() {
                    Some(waiting) => self.refused_events(&waiting.delivery, deadline).await,
                    None => Ok(Vec::new()),
                }
            } else {
                Ok(Vec::new())
            };
            let why = match refused {
                Ok(refused) if !refused.is_empty() => NotStored::Refused(refused),
                _ => NotStored::Failed(Arc::new(error)),
            };
            for waiting in group {
                answer(waiting.answer, Err(why.clone()));
            }
        }
    }

    async fn flush(&mut self, group: &[WaitingDelivery], deadline: Instant) -> Result<Vec<Stored>> {
        let deliveries: Vec<&Delivery> = group.iter().map(|waiting| &*waiting.delivery).collect();
        let started = Instant::now();
        // The flush is built once: a retry has the same batches, and so cannot duplicate what the first attempt
        // committed.
        let flush = Flush::new(&deliveries);
        let mut written = self.try_flush(&flush, deadline).await;
        if let Err(error) = &written
            && error.code() == Code::PartitionMissing
        {
            ledger::ensure_partition(&mut self.connection, flush.received_at, deadline).await?;
            written = self.try_flush(&flush, deadline).await;
        }
        if written.is_ok() {
            let duration = started.elapsed();
            metrics::record(names::FLUSH_SIZE, flush.event_count() as f64);
            metrics::record(names::FLUSH_DURATION, metrics::millis(duration));
            info!(
                batch_id = flush.first_batch().map(display),
                batch_count = flush.batch_count(),
                delivery_count = deliveries.len(),
                event_count = flush.event_count(),
                duration_ms = duration.as_millis() as u64,
                "flushed"
            );
        }
        written
    }

    async fn try_flush(&mut self, flush: &Flush<'_>, deadline: Instant) -> Result<Vec<Stored>> {
        self.connection
            .run_statement("store deliveries", deadline, async |session| flush.write(session).await)
            .await
    }

    /// Finds the events of one delivery that PostgreSQL refuses, by their index.
    async fn refused_events(
        &mut self,
        delivery: &Delivery,
        deadline: Instant,
    ) -> Result<Vec<(usize, PostgresError)>> {
        let trials = trials(delivery);
        let batches: Vec<&Batch> = trials.iter().map(|trial| &trial.batch).collect();
        let found = self
            .connection
            .run_tx("find refused events", deadline, async |transaction| {
                find_refused_rows(transaction, &batches).await
            })
            .await?;
        let refused = trials.iter().zip(found).flat_map(|(trial, rows)| {
            rows.into_iter().map(|refused| (trial.events[refused.row], refused.refusal))
        });
        Ok(refused.collect())
    }

    /// Deletes expired keys. A failure does not matter: expired keys have no effect.
    async fn expire_delivery_keys(&mut self) {
        let deadline = Instant::now() + self.timeout;
        let forgotten = self
            .connection
            .run_statement("expire delivery keys", deadline, async |client| {
                client
                    .query_typed_one(EXPIRE_DELIVERY_KEYS, &[(&EXPIRE_AT_MOST, Type::INT4)])
                    .await
                    .map(|row| row.get::<_, i64>(0))
                    .map_err(|error| {
                        millrace::database::failure::from_postgres("delete expired delivery keys", error)
                    })
            })
            .await;
        match forgotten {
            Ok(count) => debug!(count, "expired delivery keys deleted"),
            Err(error) => warn!(error = error.chain(), "expired delivery keys not deleted"),
        }
    }
}

/// Events of one event type as a batch, to find those that PostgreSQL refuses.
struct Trial {
    batch: Batch,
    /// The index in the delivery of each row's event.
    events: Vec<usize>,
}

fn trials(delivery: &Delivery) -> Vec<Trial> {
    let received_at = ReceivedAt::now();
    let bounds = batch::BatchBounds { rows: usize::MAX, bytes: usize::MAX };
    let mut open: Vec<(&str, BatchBuilder, Vec<usize>)> = Vec::new();
    for (index, event) in delivery.events.iter().enumerate() {
        let Some(payload) = &event.payload else { continue };
        let known = open.iter().position(|(event_type, ..)| *event_type == event.event_type);
        let at = known.unwrap_or_else(|| {
            let builder = BatchBuilder::new(&delivery.source, &event.event_type, received_at, bounds);
            open.push((&event.event_type, builder, Vec::new()));
            open.len() - 1
        });
        open[at].1.push(payload.as_bytes());
        open[at].2.push(index);
    }
    open.into_iter().map(|(_, builder, events)| Trial { batch: builder.finish(), events }).collect()
}

fn answer(to: oneshot::Sender<StoreResult>, with: StoreResult) {
    // A request that timed out no longer waits. Committed data stays committed.
    drop(to.send(with));
}
