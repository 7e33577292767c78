//! Receives dead letters from the queue, hides them and deletes them. A message stays in the queue until it is deleted.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
    MessageSystemAttributeName,
};
use futures_util::stream::{self, StreamExt};
use time::OffsetDateTime;
use tokio::task::JoinHandle;
use tracing::warn;

use super::envelope::{DeadLetter, Payload, PayloadPointer};
use super::parse::{ParsedMessage, parse_body};
use crate::aws::{ObjectClient, ObjectRefusal};
use crate::config::Sources;
use crate::{Code, Error, Kind, Result};

/// The maximum number of messages in an SQS request.
const ENTRIES: usize = 10;
/// The maximum number of concurrent requests.
const CONCURRENCY: usize = 8;
const TRIES: u32 = 4;
/// The client times out after ten seconds. A poll must end before.
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// How long a poll of a scan waits. With long polling SQS queries all of its servers, so that an empty response means an empty
/// queue.
const POLL_TIME: Duration = Duration::from_secs(1);
/// The maximum visibility timeout of SQS.
const LONGEST_HIDE: Duration = Duration::from_secs(12 * 3_600);

/// Receives dead letters.
#[derive(Debug, Clone)]
pub struct DeadLetterReader {
    sqs: aws_sdk_sqs::Client,
    objects: ObjectClient,
    queue_url: String,
    sources: Arc<Sources>,
    /// Tasks of dropped scans that still make messages visible.
    returning: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

/// A received message. It is invisible to other receivers until its visibility timeout ends.
#[derive(Debug, Clone)]
pub struct ReceivedMessage {
    pub id: String,
    /// Valid for this receive of the message only.
    pub receipt: String,
    pub body: String,
    pub sent_at: SystemTime,
    /// How often it was received, including this time.
    pub receive_count: u32,
}

impl ReceivedMessage {
    pub fn read(&self, sources: &Sources) -> ParsedMessage {
        parse_body(&self.id, &self.body, OffsetDateTime::from(self.sent_at), sources)
    }
}

/// A change of messages, ten per request.
#[derive(Debug, Clone, Copy)]
enum Change {
    Hide { seconds: i32 },
    Delete,
}

impl Change {
    fn name(self) -> &'static str {
        match self {
            Change::Hide { seconds: 0 } => "make dead letters visible",
            Change::Hide { .. } => "hide dead letters",
            Change::Delete => "delete dead letters",
        }
    }

    /// A message that is visible, received by another receiver or deleted needs no change.
    fn is_done_anyway(self, failure: &BatchResultErrorEntry) -> bool {
        matches!(self, Change::Hide { seconds: 0 })
            && ["MessageNotInflight", "ReceiptHandleIsInvalid", "InvalidParameterValue"]
                .iter()
                .any(|code| failure.code().ends_with(code))
    }
}

impl DeadLetterReader {
    pub fn new(sqs: aws_sdk_sqs::Client, objects: ObjectClient, queue_url: String) -> Self {
        DeadLetterReader { sqs, objects, queue_url, sources: Arc::default(), returning: Arc::default() }
    }

    /// With the declared sources, which decide the source and event type of a file whose notification AWS itself moved to
    /// the queue. Without them the naming convention decides.
    #[must_use]
    pub fn with_sources(self, sources: Arc<Sources>) -> Self {
        DeadLetterReader { sources, ..self }
    }

    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Receives up to ten messages with the visibility timeout `hide`. Waits at most `wait`, and at most eight seconds, for the
    /// first. Without a wait SQS queries only some of its servers, and may return no message from a queue with messages.
    pub async fn receive(&self, hide: Duration, wait: Duration) -> Result<Vec<ReceivedMessage>> {
        let answer = self
            .sqs
            .receive_message()
            .queue_url(&self.queue_url)
            .max_number_of_messages(ENTRIES as i32)
            .visibility_timeout(whole_seconds(hide.min(LONGEST_HIDE)))
            .wait_time_seconds(whole_seconds(wait.min(LONGEST_WAIT)))
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .send()
            .await
            .map_err(|error| failed(Kind::Transient, "receive dead letters").with_source(error))?;
        Ok(answer.messages.unwrap_or_default().into_iter().filter_map(message).collect())
    }

    /// How long a poll waits if an empty response must mean an empty queue. An emulator on this machine is a single server and
    /// needs no wait.
    pub(super) fn poll_time(&self) -> Duration {
        if is_on_this_machine(&self.queue_url) { Duration::ZERO } else { POLL_TIME }
    }

    /// Sets the visibility timeout of messages. `Duration::ZERO` makes them visible.
    ///
    /// # Errors
    /// When some could not be hidden, for example because another receiver has received them. This is not an error for
    /// `Duration::ZERO`.
    pub async fn hide(&self, messages: &[&ReceivedMessage], hide: Duration) -> Result<()> {
        let receipts = messages.iter().map(|message| message.receipt.clone()).collect();
        self.hide_receipts(receipts, hide).await
    }

    pub(super) async fn hide_receipts(&self, receipts: Vec<String>, hide: Duration) -> Result<()> {
        let seconds = whole_seconds(hide.min(LONGEST_HIDE));
        self.change(receipts, Change::Hide { seconds }).await
    }

    /// Deletes messages.
    ///
    /// # Errors
    /// When some could not be deleted. The others are deleted.
    pub(super) async fn delete_receipts(&self, receipts: Vec<String>) -> Result<()> {
        self.change(receipts, Change::Delete).await
    }

    /// Changes all groups, even if one fails.
    async fn change(&self, receipts: Vec<String>, change: Change) -> Result<()> {
        let groups: Vec<Vec<String>> = receipts.chunks(ENTRIES).map(<[String]>::to_vec).collect();
        stream::iter(groups)
            .map(|group| self.change_group(group, change))
            .buffer_unordered(CONCURRENCY)
            .fold(Ok(()), async |all, one| all.and(one))
            .await
    }

    async fn change_group(&self, mut receipts: Vec<String>, change: Change) -> Result<()> {
        let mut pause = Duration::from_millis(50);
        let mut refused = 0;
        let mut last_code = String::new();
        for _ in 0..TRIES {
            if receipts.is_empty() {
                break;
            }
            let failures = match change {
                Change::Hide { seconds } => self.hide_group(&receipts, seconds).await?,
                Change::Delete => self.delete_group(&receipts).await?,
            };
            // SQS reports failures per entry. A retry of an invalid entry fails again.
            let mut again = Vec::new();
            for failure in failures.iter().filter(|failure| !change.is_done_anyway(failure)) {
                last_code = failure.code().to_owned();
                let receipt = failure.id().parse::<usize>().ok().and_then(|index| receipts.get(index));
                match receipt.filter(|_| !failure.sender_fault()) {
                    Some(receipt) => again.push(receipt.clone()),
                    None => refused += 1,
                }
            }
            receipts = again;
            if !receipts.is_empty() {
                warn!(failed = receipts.len(), code = last_code, "{}: retrying", change.name());
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        }
        refused += receipts.len();
        if refused == 0 {
            return Ok(());
        }
        Err(failed(Kind::Transient, &format!("{}: {refused} refused ({last_code})", change.name())))
    }

    async fn hide_group(&self, receipts: &[String], seconds: i32) -> Result<Vec<BatchResultErrorEntry>> {
        let doing = Change::Hide { seconds }.name();
        let mut request = self.sqs.change_message_visibility_batch().queue_url(&self.queue_url);
        for (index, receipt) in receipts.iter().enumerate() {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(receipt)
                .visibility_timeout(seconds)
                .build()
                .map_err(|error| failed(Kind::Bug, doing).with_source(error))?;
            request = request.entries(entry);
        }
        let answer =
            request.send().await.map_err(|error| failed(Kind::Transient, doing).with_source(error))?;
        Ok(answer.failed)
    }

    async fn delete_group(&self, receipts: &[String]) -> Result<Vec<BatchResultErrorEntry>> {
        let doing = Change::Delete.name();
        let mut request = self.sqs.delete_message_batch().queue_url(&self.queue_url);
        for (index, receipt) in receipts.iter().enumerate() {
            let entry = DeleteMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(receipt)
                .build()
                .map_err(|error| failed(Kind::Bug, doing).with_source(error))?;
            request = request.entries(entry);
        }
        let answer =
            request.send().await.map_err(|error| failed(Kind::Transient, doing).with_source(error))?;
        Ok(answer.failed)
    }

    /// Returns the complete dead letter: from the bucket if the message is a pointer, otherwise `dead_letter` itself.
    ///
    /// # Errors
    /// [`Kind::Contract`] when the object is missing or is not this dead letter; [`Kind::Transient`] when it cannot be read now.
    pub async fn open(&self, dead_letter: &DeadLetter) -> Result<DeadLetter> {
        let Some(pointer) = pointer_of(dead_letter) else { return Ok(dead_letter.clone()) };
        let wrong = |what: &str| {
            let place = format!("s3://{}/{}", pointer.bucket, pointer.key);
            Error::new(Kind::Contract, format!("open a dead letter: {place} {what}"))
                .with_code(Code::DeadLetterObjectMissing)
        };
        let body = self.objects.get(&pointer.bucket, &pointer.key).await.map_err(|error| {
            if error.as_service_error().is_some_and(ObjectRefusal::is_no_such_key) {
                wrong("is missing").with_source(error)
            } else {
                failed(Kind::Transient, "open a dead letter").with_source(error)
            }
        })?;
        let whole: DeadLetter = serde_json::from_slice(&body)
            .map_err(|error| wrong("is not a dead letter").with_source(error))?;
        if whole.id != dead_letter.id {
            return Err(wrong("is another dead letter"));
        }
        // The message may be newer than the object, and then has a higher attempt count.
        Ok(DeadLetter { payload: whole.payload, ..dead_letter.clone() })
    }

    /// Deletes the object of a dead letter whose message was a pointer. The caller must delete all messages of the dead letter
    /// first: copies, and the dead letter after another failure, refer to the same object.
    pub async fn delete_object(&self, dead_letter: &DeadLetter) -> Result<()> {
        let Some(pointer) = pointer_of(dead_letter) else { return Ok(()) };
        self.objects
            .delete(&pointer.bucket, &pointer.key)
            .await
            .map_err(|error| failed(Kind::Transient, "delete a dead letter's object").with_source(error))
    }

    pub(super) fn returns(&self, task: JoinHandle<()>) {
        self.returning.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    /// Waits until the messages of every dropped scan are visible again. A program that was asked to stop calls this before
    /// it ends.
    pub async fn wait_for_scans(&self) {
        let tasks = std::mem::take(&mut *self.returning.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            if let Err(error) = task.await {
                warn!(%error, "dead letters were not made visible; they become visible when their visibility timeout ends");
            }
        }
    }
}

/// The object that contains the complete dead letter.
fn pointer_of(dead_letter: &DeadLetter) -> Option<&PayloadPointer> {
    match &dead_letter.payload {
        Payload::Pointer { pointer } if dead_letter.is_pointer() => Some(pointer),
        _ => None,
    }
}

fn message(message: aws_sdk_sqs::types::Message) -> Option<ReceivedMessage> {
    let number = |name| message.attributes.as_ref()?.get(&name)?.parse::<u64>().ok();
    let sent_at = number(MessageSystemAttributeName::SentTimestamp);
    let receive_count = number(MessageSystemAttributeName::ApproximateReceiveCount);
    Some(ReceivedMessage {
        // A message without a time counts as new, so that it is not archived.
        sent_at: sent_at.map_or_else(SystemTime::now, |millis| UNIX_EPOCH + Duration::from_millis(millis)),
        receive_count: receive_count.and_then(|count| u32::try_from(count).ok()).unwrap_or(1),
        id: message.message_id?,
        receipt: message.receipt_handle?,
        body: message.body.unwrap_or_default(),
    })
}

/// Whether the URL of a queue names this machine. Queues of AWS never have such a URL, not even with a VPC endpoint.
fn is_on_this_machine(queue_url: &str) -> bool {
    let host = queue_url.strip_prefix("http://").and_then(|rest| rest.split([':', '/']).next());
    host.is_some_and(|host| {
        host == "localhost" || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
    })
}

/// Rounds up to whole seconds, so that a short time does not become zero.
fn whole_seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis().div_ceil(1_000)).unwrap_or(i32::MAX)
}

fn failed(kind: Kind, doing: &str) -> Error {
    Error::new(kind, doing).with_code(Code::DeadLettersUnavailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_queue_of_an_emulator_on_this_machine_is_polled_without_a_wait() {
        for (queue_url, is_here) in [
            ("http://127.0.0.1:4566/000000000000/dead-letters", true),
            ("http://localhost:4566/000000000000/dead-letters", true),
            ("http://localhost/000000000000/dead-letters", true),
            ("https://sqs.eu-central-1.amazonaws.com/123456789012/dead-letters", false),
            ("https://vpce-0a1b.sqs.eu-central-1.vpce.amazonaws.com/123456789012/dead-letters", false),
            ("http://localhost.example.com/000000000000/dead-letters", false),
            ("http://127.0.0.1.example.com/000000000000/dead-letters", false),
            ("http://10.0.0.1:4566/000000000000/dead-letters", false),
            ("", false),
        ] {
            assert_eq!(is_on_this_machine(queue_url), is_here, "{queue_url}");
        }
    }
}
