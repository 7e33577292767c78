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
const MOST_HELD: usize = 100_000;

/// A look at everything in the queue. [`Scan::next`] gives each message once, whatever SQS delivers twice.
///
/// End it with [`Scan::finish`]. One that is dropped puts back what it saw behind the caller's back; [`DeadLetterReader::settle`] waits
/// for that.
#[derive(Debug)]
pub struct Scan {
    reader: DeadLetterReader,
    held: Arc<Held>,
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

/// What a scan has seen, and hides from others.
#[derive(Debug)]
struct Held {
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

impl Held {
    fn new() -> Self {
        Held { began: Instant::now(), seen: Mutex::default() }
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
        seen.given_up |= seen.receipts.len() >= MOST_HELD || seen.fruitless > 100 + seen.receipts.len() / 5;
        fresh
    }

    fn has_given_up(&self) -> bool {
        self.lock().given_up
    }

    fn receipts(&self, wanted: impl Fn(&Receipt) -> bool) -> Vec<String> {
        let seen = self.lock();
        let held = seen.receipts.values().flatten();
        held.filter(|receipt| wanted(receipt)).map(|receipt| receipt.handle.clone()).collect()
    }

    fn renewed(&self, handles: &[String], hidden_until: Instant) {
        let handles: HashSet<&String> = handles.iter().collect();
        for receipt in self.lock().receipts.values_mut().flatten() {
            if handles.contains(&receipt.handle) {
                receipt.hidden_until = hidden_until;
            }
        }
    }

    /// These are not held any more: they were put back, or deleted.
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
        let held = Arc::new(Held::new());
        let (stop, stopped) = watch::channel(false);
        let (send, received) = mpsc::channel(READERS);
        // It has no sender: the end of the readers is the end of what is received.
        let renewal = Some(tokio::spawn(renew(reader.clone(), Arc::clone(&held), stopped.clone())));
        let poller = Poller { reader: reader.clone(), held: Arc::clone(&held), wait, stopped, send };
        let tasks = Tasks { renewal, reading: Some(tokio::spawn(read_all(poller))) };
        Scan { reader, held, received, stop, tasks }
    }

    /// More messages, none of them given before; `None` when there are no more.
    pub async fn next(&mut self) -> Result<Option<Vec<Message>>> {
        self.received.recv().await.transpose()
    }

    /// Deletes messages that this scan gave, by their newest receipts.
    pub async fn delete(&self, messages: &[&Message]) -> Result<()> {
        let handles: Vec<String> = {
            let seen = self.held.lock();
            let receipt = |message: &&Message| seen.receipts.get(&message.id)?.as_ref();
            messages.iter().filter_map(|message| Some(receipt(message)?.handle.clone())).collect()
        };
        self.reader.delete_receipts(handles.clone()).await?;
        self.held.let_go(&handles);
        Ok(())
    }

    /// False when there were more messages than can be hidden at once, or the same came again and again, so that not all of
    /// them were seen.
    pub fn is_complete(&self) -> bool {
        !self.held.has_given_up()
    }

    /// Puts everything back that was not deleted.
    pub async fn finish(mut self) -> Result<()> {
        self.stop.send_replace(true);
        self.received.close();
        show_again(&self.reader, &self.held, &mut self.tasks).await
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        let mut tasks = std::mem::take(&mut self.tasks);
        if tasks.renewal.is_none() && tasks.reading.is_none() && self.held.receipts(|_| true).is_empty() {
            return;
        }
        // Outside a runtime nothing can be sent; the messages come back when their time is over.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (reader, held) = (self.reader.clone(), Arc::clone(&self.held));
        self.reader.returns(runtime.spawn(async move {
            if let Err(error) = show_again(&reader, &held, &mut tasks).await {
                warn!(error = error.chain(), "dead letters come back when their time is over");
            }
        }));
    }
}

/// What is held goes back at once; then what the polls still under way bring. These are not cut off: what they were about
/// to bring would stay hidden. The renewal ends first, or it could hide again what has just been put back.
async fn show_again(reader: &DeadLetterReader, held: &Held, tasks: &mut Tasks) -> Result<()> {
    ended(&mut tasks.renewal).await?;
    let first = show_held(reader, held).await;
    ended(&mut tasks.reading).await?;
    show_held(reader, held).await.and(first)
}

async fn ended(task: &mut Option<JoinHandle<()>>) -> Result<()> {
    let Some(running) = task else { return Ok(()) };
    let ended = running.await;
    *task = None;
    ended.map_err(|error| Error::new(Kind::Bug, "read the dead-letter queue").with_source(error))
}

async fn show_held(reader: &DeadLetterReader, held: &Held) -> Result<()> {
    let handles = held.receipts(|_| true);
    reader.hide_receipts(handles.clone(), Duration::ZERO).await?;
    held.let_go(&handles);
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
    held: Arc<Held>,
    wait: Duration,
    stopped: watch::Receiver<bool>,
    send: mpsc::Sender<Result<Vec<Message>>>,
}

impl Poller {
    async fn poll(&self) -> Poll {
        if *self.stopped.borrow() || self.held.has_given_up() {
            return Poll::End;
        }
        let hide = self.held.hide_for();
        // As the server counts, at the earliest: it hides them when the request comes.
        let hidden_until = Instant::now() + hide;
        let messages = match self.reader.receive(hide, self.wait).await {
            Ok(messages) if messages.is_empty() => return Poll::Nothing,
            Ok(messages) => Ok(self.held.note(messages, hidden_until)),
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

/// Keeps what is held hidden for as long as the scan runs.
async fn renew(reader: DeadLetterReader, held: Arc<Held>, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            () = tokio::time::sleep(RENEW_EVERY) => {}
        }
        let soon = Instant::now() + RENEW_BEFORE;
        let handles = held.receipts(|receipt| receipt.hidden_until < soon);
        let hide = held.hide_for();
        let hidden_until = Instant::now() + hide;
        match reader.hide_receipts(handles.clone(), hide).await {
            Ok(()) => held.renewed(&handles, hidden_until),
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

    fn note(held: &Held, messages: &[(usize, &str)]) -> usize {
        let messages = messages.iter().map(|(id, receipt)| message(*id, receipt)).collect();
        held.note(messages, Instant::now() + HIDDEN).len()
    }

    #[test]
    fn a_message_that_comes_twice_is_new_once_and_its_newest_receipt_counts() {
        let held = Held::new();
        assert_eq!(note(&held, &[(1, "a"), (2, "b")]), 2);
        assert_eq!(note(&held, &[(1, "c"), (3, "d")]), 1);
        let mut receipts = held.receipts(|_| true);
        receipts.sort();
        assert_eq!(receipts, ["b", "c", "d"]);
    }

    #[test]
    fn a_released_message_is_not_released_or_reported_again() {
        let held = Held::new();
        note(&held, &[(1, "a"), (2, "b")]);
        held.let_go(&["a".to_owned()]);
        assert_eq!(held.receipts(|_| true), ["b"]);
        // It came back, from a server that had not heard of it: held again, and known.
        assert_eq!(note(&held, &[(1, "e")]), 0);
        assert_eq!(held.receipts(|_| true).len(), 2);
    }

    #[test]
    fn only_what_comes_back_soon_is_renewed() {
        let held = Held::new();
        note(&held, &[(1, "a"), (2, "b")]);
        held.renewed(&["a".to_owned()], Instant::now() + 2 * HIDDEN);
        let soon = Instant::now() + HIDDEN + Duration::from_secs(1);
        assert_eq!(held.receipts(|receipt| receipt.hidden_until < soon), ["b"]);
    }

    #[test]
    fn the_longer_a_scan_takes_the_longer_it_hides() {
        for (ran, hides) in [(0, 30), (10, 30), (60, 120), (10_000, 600)] {
            let Some(began) = Instant::now().checked_sub(Duration::from_secs(ran)) else { continue };
            let held = Held { began, seen: Mutex::default() };
            assert_eq!(held.hide_for().as_secs(), hides, "after {ran} s");
        }
    }

    #[test]
    fn polls_without_anything_new_end_a_scan_that_is_then_not_complete() {
        let held = Held::new();
        note(&held, &[(1, "a")]);
        for _ in 0..100 {
            note(&held, &[(1, "a")]);
            assert!(!held.has_given_up());
        }
        note(&held, &[(1, "a")]);
        assert!(held.has_given_up());
    }

    #[test]
    fn a_scan_takes_no_more_than_can_be_hidden() {
        let held = Held::new();
        let until = Instant::now() + HIDDEN;
        held.note((0..MOST_HELD - 1).map(|id| message(id, "a")).collect(), until);
        assert!(!held.has_given_up());
        held.note(vec![message(MOST_HELD, "a")], until);
        assert!(held.has_given_up());
    }
}
