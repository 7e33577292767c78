//! Everything in the dead-letter queue once, without taking it.
//!
//! SQS has no other way to look than to receive, which hides. So a scan hides each message for a short time, which it
//! renews while it runs, and puts everything back when it ends: also after an error, and when it is dropped half way. A
//! program that is killed leaves messages hidden for half a minute, or twice as long as it had been looking.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::warn;

use super::reader::{DeadLetterReader, Message};
use crate::{Error, Kind, Result};

/// The maximum number of concurrent requests.
const READERS: usize = 8;
/// Long enough for a look, short enough for others to wait should this program be killed.
const HIDDEN: Duration = Duration::from_secs(30);
const LONGEST_HIDDEN: Duration = Duration::from_secs(600);
const RENEW_BEFORE: Duration = Duration::from_secs(15);
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// SQS lets some 120,000 messages of a queue be hidden at once; others receive from it too.
const MOST_IN_FLIGHT: usize = 100_000;

/// A look at everything in the queue. [`Scan::next`] gives each message once, whatever SQS delivers twice.
///
/// End it with [`Scan::finish`]. A scan that is dropped makes its messages visible again in a background task;
/// [`DeadLetterReader::wait_for_scans`] waits for the task.
#[derive(Debug)]
pub struct Scan {
    reader: DeadLetterReader,
    in_flight: Arc<InFlight>,
    received: mpsc::Receiver<Result<Vec<Message>>>,
    stop: watch::Sender<bool>,
    tasks: Tasks,
}

/// Until they have been seen to end.
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
    /// By message id; none once it is deleted.
    receipts: HashMap<String, Option<Receipt>>,
    /// Consecutive polls that returned only messages that were known.
    fruitless: usize,
    /// Not everything was seen, and nothing more will be.
    given_up: bool,
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

    /// How long a message is hidden that is received, or renewed, now. It grows with the time that the scan takes: were it
    /// always the same, a slow scan would be busy with renewals, or see the same messages again and again.
    fn hide_for(&self) -> Duration {
        (self.began.elapsed() * 2).clamp(HIDDEN, LONGEST_HIDDEN)
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what was received; the messages that had not been seen before.
    fn note(&self, messages: Vec<Message>, hidden_until: Instant) -> Vec<Message> {
        let mut seen = self.lock();
        let fresh: Vec<Message> = messages
            .into_iter()
            .filter(|message| {
                let receipt = Receipt { handle: message.receipt.clone(), hidden_until };
                // The newest receipt is the one that counts.
                seen.receipts.insert(message.id.clone(), Some(receipt)).is_none()
            })
            .collect();
        seen.fruitless = if fresh.is_empty() { seen.fruitless + 1 } else { 0 };
        // No more can be hidden, or nothing new comes though there is something.
        seen.given_up |=
            seen.receipts.len() >= MOST_IN_FLIGHT || seen.fruitless > 100 + seen.receipts.len() / 5;
        fresh
    }

    fn has_given_up(&self) -> bool {
        self.lock().given_up
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

    /// Forgets the receipts of messages that are visible again or deleted.
    fn let_go(&self, handles: &[String]) {
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
        // It has no sender: the end of the readers is the end of what is received.
        let renewal = Some(tokio::spawn(renew(reader.clone(), Arc::clone(&in_flight), stopped.clone())));
        let poller =
            Poller { reader: reader.clone(), in_flight: Arc::clone(&in_flight), wait, stopped, send };
        let tasks = Tasks { renewal, reading: Some(tokio::spawn(read_all(poller))) };
        Scan { reader, in_flight, received, stop, tasks }
    }

    /// More messages, none of them given before; `None` when there are no more.
    pub async fn next(&mut self) -> Result<Option<Vec<Message>>> {
        self.received.recv().await.transpose()
    }

    /// Deletes messages that this scan gave, by their newest receipts.
    pub async fn delete(&self, messages: &[&Message]) -> Result<()> {
        let handles: Vec<String> = {
            let seen = self.in_flight.lock();
            let receipt = |message: &&Message| seen.receipts.get(&message.id)?.as_ref();
            messages.iter().filter_map(|message| Some(receipt(message)?.handle.clone())).collect()
        };
        self.reader.delete_receipts(handles.clone()).await?;
        self.in_flight.let_go(&handles);
        Ok(())
    }

    /// False when there were more messages than can be hidden at once, or the same came again and again, so that not all of
    /// them were seen.
    pub fn is_complete(&self) -> bool {
        !self.in_flight.has_given_up()
    }

    /// Puts everything back that was not deleted.
    pub async fn finish(mut self) -> Result<()> {
        self.stop.send_replace(true);
        self.received.close();
        show_again(&self.reader, &self.in_flight, &mut self.tasks).await
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
        // Outside a runtime nothing can be sent; the messages come back when their time is over.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (reader, in_flight) = (self.reader.clone(), Arc::clone(&self.in_flight));
        self.reader.returns(runtime.spawn(async move {
            if let Err(error) = show_again(&reader, &in_flight, &mut tasks).await {
                warn!(error = error.chain(), "dead letters come back when their time is over");
            }
        }));
    }
}

/// Makes the messages in flight visible again, first those that were received, then those that the running polls still
/// receive. The polls are not cancelled, because their messages would stay hidden. The renewal ends first, or it could hide
/// the messages again.
async fn show_again(reader: &DeadLetterReader, in_flight: &InFlight, tasks: &mut Tasks) -> Result<()> {
    ended(&mut tasks.renewal).await?;
    let first = show_in_flight(reader, in_flight).await;
    ended(&mut tasks.reading).await?;
    show_in_flight(reader, in_flight).await.and(first)
}

async fn ended(task: &mut Option<JoinHandle<()>>) -> Result<()> {
    let Some(running) = task else { return Ok(()) };
    let ended = running.await;
    *task = None;
    ended.map_err(|error| Error::new(Kind::Bug, "read the dead-letter queue").with_source(error))
}

async fn show_in_flight(reader: &DeadLetterReader, in_flight: &InFlight) -> Result<()> {
    let handles = in_flight.receipts(|_| true);
    reader.hide_receipts(handles.clone(), Duration::ZERO).await?;
    in_flight.let_go(&handles);
    Ok(())
}

/// The result of a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Poll {
    Messages,
    Nothing,
    /// The scan is over.
    End,
}

/// What the tasks of a scan share.
#[derive(Debug, Clone)]
struct Poller {
    reader: DeadLetterReader,
    in_flight: Arc<InFlight>,
    wait: Duration,
    stopped: watch::Receiver<bool>,
    send: mpsc::Sender<Result<Vec<Message>>>,
}

impl Poller {
    async fn poll(&self) -> Poll {
        if *self.stopped.borrow() || self.in_flight.has_given_up() {
            return Poll::End;
        }
        let hide = self.in_flight.hide_for();
        // As the server counts, at the earliest: it hides them when the request comes.
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

/// Over when two polls in a row bring nothing: one of several at once, and one alone after them.
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
            // Those that come back too early are received again, and known.
            Err(error) => {
                warn!(error = error.chain(), "dead letters may show themselves to others too early")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn message(id: usize, receipt: &str) -> Message {
        Message {
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
        in_flight.let_go(&["a".to_owned()]);
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
            assert!(!in_flight.has_given_up());
        }
        note(&in_flight, &[(1, "a")]);
        assert!(in_flight.has_given_up());
    }

    #[test]
    fn a_scan_takes_no_more_than_can_be_hidden() {
        let in_flight = InFlight::new();
        let until = Instant::now() + HIDDEN;
        in_flight.note((0..MOST_IN_FLIGHT - 1).map(|id| message(id, "a")).collect(), until);
        assert!(!in_flight.has_given_up());
        in_flight.note(vec![message(MOST_IN_FLIGHT, "a")], until);
        assert!(in_flight.has_given_up());
    }
}
