//! Reads every message of the dead-letter queue once, without removing it.
//!
//! SQS can only receive messages, which makes them invisible. A scan receives each message with a short visibility timeout and
//! extends it while the scan runs. When the scan ends, also by an error or a drop, it makes all messages visible again. If the
//! program is killed, messages stay invisible for half a minute, or for twice the duration of the scan.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::warn;

use super::reader::{DeadLetterReader, ReceivedMessage};
use crate::{Error, Kind, Result};

/// The maximum number of concurrent requests.
const READERS: usize = 8;
/// Short, because other receivers must wait for so long if this program is killed.
const HIDDEN: Duration = Duration::from_secs(30);
const LONGEST_HIDDEN: Duration = Duration::from_secs(600);
const RENEW_BEFORE: Duration = Duration::from_secs(15);
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// Below the limit of SQS, about 120,000 invisible messages per queue, because others receive from the queue too.
const MOST_IN_FLIGHT: usize = 100_000;

/// A scan of the queue. [`Scan::next`] returns each message once, even if SQS delivers it twice.
///
/// End it with [`Scan::finish`]. A scan that is dropped makes its messages visible again in a background task;
/// [`DeadLetterReader::wait_for_scans`] waits for the task.
#[derive(Debug)]
pub struct Scan {
    reader: DeadLetterReader,
    in_flight: Arc<InFlight>,
    received: mpsc::Receiver<Result<Vec<ReceivedMessage>>>,
    stop: watch::Sender<bool>,
    tasks: Tasks,
}

/// The tasks that have not been awaited.
#[derive(Debug, Default)]
struct Tasks {
    renewal: Option<JoinHandle<()>>,
    reading: Option<JoinHandle<()>>,
}

/// The messages that a scan has received and keeps hidden: SQS calls them in flight.
#[derive(Debug)]
struct InFlight {
    began: Instant,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// By message id; `None` after the message was deleted.
    receipts: HashMap<String, Option<Receipt>>,
    /// Consecutive polls that returned only known messages.
    repeated_polls: usize,
    /// The scan stopped before it received all messages.
    is_stopped: bool,
}

#[derive(Debug, Clone)]
struct Receipt {
    handle: String,
    hidden_until: Instant,
}

impl InFlight {
    fn new() -> Self {
        InFlight { began: Instant::now(), seen: Mutex::default() }
    }

    /// The visibility timeout of messages that are received or extended now. It grows with the duration of the scan. With a
    /// constant timeout, a slow scan would spend its time on extensions, or receive the same messages repeatedly.
    fn hide_for(&self) -> Duration {
        (self.began.elapsed() * 2).clamp(HIDDEN, LONGEST_HIDDEN)
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records received messages, and returns those that are new.
    fn note(&self, messages: Vec<ReceivedMessage>, hidden_until: Instant) -> Vec<ReceivedMessage> {
        let mut seen = self.lock();
        let fresh: Vec<ReceivedMessage> = messages
            .into_iter()
            .filter(|message| {
                let receipt = Receipt { handle: message.receipt.clone(), hidden_until };
                // Only the newest receipt is valid.
                seen.receipts.insert(message.id.clone(), Some(receipt)).is_none()
            })
            .collect();
        seen.repeated_polls = if fresh.is_empty() { seen.repeated_polls + 1 } else { 0 };
        // No more messages can be hidden, or polls return only known messages.
        seen.is_stopped |=
            seen.receipts.len() >= MOST_IN_FLIGHT || seen.repeated_polls > 100 + seen.receipts.len() / 5;
        fresh
    }

    fn is_stopped_early(&self) -> bool {
        self.lock().is_stopped
    }

    fn receipts(&self, wanted: impl Fn(&Receipt) -> bool) -> Vec<String> {
        let seen = self.lock();
        let in_flight = seen.receipts.values().flatten();
        in_flight.filter(|receipt| wanted(receipt)).map(|receipt| receipt.handle.clone()).collect()
    }

    fn renewed(&self, handles: &[String], hidden_until: Instant) {
        let handles: HashSet<&String> = handles.iter().collect();
        for receipt in self.lock().receipts.values_mut().flatten() {
            if handles.contains(&receipt.handle) {
                receipt.hidden_until = hidden_until;
            }
        }
    }

    /// Removes the receipts of messages that are visible again or deleted.
    fn remove(&self, handles: &[String]) {
        let handles: HashSet<&String> = handles.iter().collect();
        for receipt in self.lock().receipts.values_mut() {
            if receipt.as_ref().is_some_and(|receipt| handles.contains(&receipt.handle)) {
                *receipt = None;
            }
        }
    }
}

impl DeadLetterReader {
    /// Starts a [`Scan`] of the whole queue.
    pub fn scan(&self) -> Scan {
        Scan::begin(self.clone(), self.poll_time())
    }
}

impl Scan {
    fn begin(reader: DeadLetterReader, wait: Duration) -> Scan {
        let in_flight = Arc::new(InFlight::new());
        let (stop, stopped) = watch::channel(false);
        let (send, received) = mpsc::channel(READERS);
        // No sender is kept here, so that the channel closes when the readers end.
        let renewal = Some(tokio::spawn(renew(reader.clone(), Arc::clone(&in_flight), stopped.clone())));
        let poller =
            Poller { reader: reader.clone(), in_flight: Arc::clone(&in_flight), wait, stopped, send };
        let tasks = Tasks { renewal, reading: Some(tokio::spawn(read_all(poller))) };
        Scan { reader, in_flight, received, stop, tasks }
    }

    /// Returns more new messages, or `None` when there are no more.
    pub async fn next(&mut self) -> Result<Option<Vec<ReceivedMessage>>> {
        self.received.recv().await.transpose()
    }

    /// Deletes messages that this scan returned, by their newest receipts.
    pub async fn delete(&self, messages: &[&ReceivedMessage]) -> Result<()> {
        let handles: Vec<String> = {
            let seen = self.in_flight.lock();
            let receipt = |message: &&ReceivedMessage| seen.receipts.get(&message.id)?.as_ref();
            messages.iter().filter_map(|message| Some(receipt(message)?.handle.clone())).collect()
        };
        self.reader.delete_receipts(handles.clone()).await?;
        self.in_flight.remove(&handles);
        Ok(())
    }

    /// False when not all messages were received: there were more than can be hidden at the same time, or the same messages were
    /// received repeatedly.
    pub fn is_complete(&self) -> bool {
        !self.in_flight.is_stopped_early()
    }

    /// Makes all messages visible that were not deleted.
    pub async fn finish(mut self) -> Result<()> {
        self.stop.send_replace(true);
        self.received.close();
        release_all(&self.reader, &self.in_flight, &mut self.tasks).await
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        let mut tasks = std::mem::take(&mut self.tasks);
        if tasks.renewal.is_none() && tasks.reading.is_none() && self.in_flight.receipts(|_| true).is_empty()
        {
            return;
        }
        // Outside a runtime no request can be sent. The messages become visible when their visibility timeout ends.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (reader, in_flight) = (self.reader.clone(), Arc::clone(&self.in_flight));
        self.reader.returns(runtime.spawn(async move {
            if let Err(error) = release_all(&reader, &in_flight, &mut tasks).await {
                warn!(
                    error = error.chain(),
                    "dead letters become visible when their visibility timeout ends"
                );
            }
        }));
    }
}

/// Makes the messages in flight visible again, first those that were received, then those that the running polls still
/// receive. The polls are not cancelled, because their messages would stay hidden. The renewal ends first, or it could hide
/// the messages again.
async fn release_all(reader: &DeadLetterReader, in_flight: &InFlight, tasks: &mut Tasks) -> Result<()> {
    ended(&mut tasks.renewal).await?;
    let first = release(reader, in_flight).await;
    ended(&mut tasks.reading).await?;
    release(reader, in_flight).await.and(first)
}

async fn ended(task: &mut Option<JoinHandle<()>>) -> Result<()> {
    let Some(running) = task else { return Ok(()) };
    let ended = running.await;
    *task = None;
    ended.map_err(|error| Error::new(Kind::Bug, "read the dead-letter queue").with_source(error))
}

async fn release(reader: &DeadLetterReader, in_flight: &InFlight) -> Result<()> {
    let handles = in_flight.receipts(|_| true);
    reader.hide_receipts(handles.clone(), Duration::ZERO).await?;
    in_flight.remove(&handles);
    Ok(())
}

/// The result of a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Poll {
    Messages,
    Nothing,
    /// The scan has ended.
    End,
}

/// What the tasks of a scan share.
#[derive(Debug, Clone)]
struct Poller {
    reader: DeadLetterReader,
    in_flight: Arc<InFlight>,
    wait: Duration,
    stopped: watch::Receiver<bool>,
    send: mpsc::Sender<Result<Vec<ReceivedMessage>>>,
}

impl Poller {
    async fn poll(&self) -> Poll {
        if *self.stopped.borrow() || self.in_flight.is_stopped_early() {
            return Poll::End;
        }
        let hide = self.in_flight.hide_for();
        // The timeout begins when SQS receives the request, which is not before this.
        let hidden_until = Instant::now() + hide;
        let messages = match self.reader.receive(hide, self.wait).await {
            Ok(messages) if messages.is_empty() => return Poll::Nothing,
            Ok(messages) => Ok(self.in_flight.note(messages, hidden_until)),
            Err(error) => Err(error),
        };
        if messages.as_ref().is_ok_and(Vec::is_empty) {
            return Poll::Messages;
        }
        let failed = messages.is_err();
        if self.send.send(messages).await.is_err() || failed { Poll::End } else { Poll::Messages }
    }

    async fn poll_until_nothing_comes(self) -> Poll {
        loop {
            let poll = self.poll().await;
            if poll != Poll::Messages {
                return poll;
            }
        }
    }
}

/// Ends when two consecutive polls return nothing: one of several concurrent polls, and a single poll after them.
async fn read_all(poller: Poller) {
    loop {
        let mut readers = JoinSet::new();
        for _ in 0..READERS {
            readers.spawn(poller.clone().poll_until_nothing_comes());
        }
        let polls = readers.join_all().await;
        if polls.contains(&Poll::End) || poller.poll().await != Poll::Messages {
            return;
        }
    }
}

/// Keeps the messages in flight hidden while the scan runs.
async fn renew(reader: DeadLetterReader, in_flight: Arc<InFlight>, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            () = tokio::time::sleep(RENEW_EVERY) => {}
        }
        let soon = Instant::now() + RENEW_BEFORE;
        let handles = in_flight.receipts(|receipt| receipt.hidden_until < soon);
        let hide = in_flight.hide_for();
        let hidden_until = Instant::now() + hide;
        match reader.hide_receipts(handles.clone(), hide).await {
            Ok(()) => in_flight.renewed(&handles, hidden_until),
            // Messages that become visible too early are received again and are known.
            Err(error) => {
                warn!(
                    error = error.chain(),
                    "visibility timeouts were not extended; dead letters may become visible to other receivers"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn message(id: usize, receipt: &str) -> ReceivedMessage {
        ReceivedMessage {
            id: id.to_string(),
            receipt: receipt.to_owned(),
            body: String::new(),
            sent_at: SystemTime::now(),
            receive_count: 1,
        }
    }

    fn note(in_flight: &InFlight, messages: &[(usize, &str)]) -> usize {
        let messages = messages.iter().map(|(id, receipt)| message(*id, receipt)).collect();
        in_flight.note(messages, Instant::now() + HIDDEN).len()
    }

    #[test]
    fn a_message_that_comes_twice_is_new_once_and_its_newest_receipt_counts() {
        let in_flight = InFlight::new();
        assert_eq!(note(&in_flight, &[(1, "a"), (2, "b")]), 2);
        assert_eq!(note(&in_flight, &[(1, "c"), (3, "d")]), 1);
        let mut receipts = in_flight.receipts(|_| true);
        receipts.sort();
        assert_eq!(receipts, ["b", "c", "d"]);
    }

    #[test]
    fn a_released_message_is_not_released_or_reported_again() {
        let in_flight = InFlight::new();
        note(&in_flight, &[(1, "a"), (2, "b")]);
        in_flight.remove(&["a".to_owned()]);
        assert_eq!(in_flight.receipts(|_| true), ["b"]);
        // A server that does not know of the change yet delivers the message again: it is in flight and not new.
        assert_eq!(note(&in_flight, &[(1, "e")]), 0);
        assert_eq!(in_flight.receipts(|_| true).len(), 2);
    }

    #[test]
    fn only_what_comes_back_soon_is_renewed() {
        let in_flight = InFlight::new();
        note(&in_flight, &[(1, "a"), (2, "b")]);
        in_flight.renewed(&["a".to_owned()], Instant::now() + 2 * HIDDEN);
        let soon = Instant::now() + HIDDEN + Duration::from_secs(1);
        assert_eq!(in_flight.receipts(|receipt| receipt.hidden_until < soon), ["b"]);
    }

    #[test]
    fn the_longer_a_scan_takes_the_longer_it_hides() {
        for (ran, hides) in [(0, 30), (10, 30), (60, 120), (10_000, 600)] {
            let Some(began) = Instant::now().checked_sub(Duration::from_secs(ran)) else { continue };
            let in_flight = InFlight { began, seen: Mutex::default() };
            assert_eq!(in_flight.hide_for().as_secs(), hides, "after {ran} s");
        }
    }

    #[test]
    fn polls_without_anything_new_end_a_scan_that_is_then_not_complete() {
        let in_flight = InFlight::new();
        note(&in_flight, &[(1, "a")]);
        for _ in 0..100 {
            note(&in_flight, &[(1, "a")]);
            assert!(!in_flight.is_stopped_early());
        }
        note(&in_flight, &[(1, "a")]);
        assert!(in_flight.is_stopped_early());
    }

    #[test]
    fn a_scan_takes_no_more_than_can_be_hidden() {
        let in_flight = InFlight::new();
        let until = Instant::now() + HIDDEN;
        in_flight.note((0..MOST_IN_FLIGHT - 1).map(|id| message(id, "a")).collect(), until);
        assert!(!in_flight.is_stopped_early());
        in_flight.note(vec![message(MOST_IN_FLIGHT, "a")], until);
        assert!(in_flight.is_stopped_early());
    }
}
