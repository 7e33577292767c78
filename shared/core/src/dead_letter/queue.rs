//! Sends dead letters to SQS in batches of ten, and stores large dead letters in S3.

use std::time::Duration;

use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tracing::warn;

use super::DeadLetterReader;
use super::envelope::{DeadLetter, Payload, PayloadPointer};
use super::settings::Settings;
use crate::aws::ObjectClient;
use crate::{Code, Error, Kind, Result};

/// The maximum number of messages in an SQS request.
const ENTRIES: usize = 10;
/// The maximum number of concurrent requests.
const CONCURRENCY: usize = 8;
const TRIES: u32 = 4;

/// Sends dead letters.
#[derive(Debug, Clone)]
pub struct DeadLetterQueue {
    sqs: aws_sdk_sqs::Client,
    objects: ObjectClient,
    settings: Settings,
}

struct OutgoingMessage {
    id: String,
    body: String,
}

impl DeadLetterQueue {
    pub fn new(sqs: aws_sdk_sqs::Client, objects: ObjectClient, settings: Settings) -> Self {
        DeadLetterQueue { sqs, objects, settings }
    }

    /// Sends all dead letters. On an error, some of them may be in the queue. Sending them again only creates copies with the
    /// same id.
    pub async fn send(&self, dead_letters: &[DeadLetter]) -> Result<()> {
        let mut groups: Vec<Vec<OutgoingMessage>> = Vec::new();
        let mut weight = 0;
        for dead_letter in dead_letters {
            let message = self.message(dead_letter).await?;
            let fits = groups.last().is_some_and(|group| {
                group.len() < ENTRIES && weight + message.body.len() <= self.settings.message_bytes
            });
            if !fits {
                groups.push(Vec::with_capacity(ENTRIES));
                weight = 0;
            }
            weight += message.body.len();
            if let Some(group) = groups.last_mut() {
                group.push(message);
            }
        }
        stream::iter(groups)
            .map(|group| self.send_group(group))
            .buffer_unordered(CONCURRENCY)
            .try_collect::<Vec<()>>()
            .await?;
        Ok(())
    }

    /// A reader of the same queue.
    pub fn reader(&self) -> DeadLetterReader {
        DeadLetterReader::new(self.sqs.clone(), self.objects.clone(), self.settings.queue_url.clone())
    }

    async fn message(&self, dead_letter: &DeadLetter) -> Result<OutgoingMessage> {
        let id = dead_letter.id.simple().to_string();
        let body = dead_letter.to_body();
        if body.len() <= self.settings.message_bytes {
            return Ok(OutgoingMessage { id, body });
        }
        let key = PayloadPointer::key(dead_letter.id);
        let bytes = body.len() as u64;
        self.objects.put(&self.settings.bucket, &key, "application/json", body).await.map_err(|error| {
            Error::new(Kind::Transient, "store a large dead letter in the bucket")
                .with_code(Code::DeadLetterNotSent)
                .with_source(error)
        })?;
        let pointer =
            Payload::Pointer { pointer: PayloadPointer { bucket: self.settings.bucket.clone(), key, bytes } };
        Ok(OutgoingMessage { id, body: DeadLetter { payload: pointer, ..dead_letter.clone() }.to_body() })
    }

    async fn send_group(&self, mut group: Vec<OutgoingMessage>) -> Result<()> {
        let mut pause = Duration::from_millis(50);
        let mut last_failure = String::new();
        for _ in 0..TRIES {
            let mut request = self.sqs.send_message_batch().queue_url(&self.settings.queue_url);
            for (index, message) in group.iter().enumerate() {
                let entry = SendMessageBatchRequestEntry::builder()
                    // The entries of a request must have different ids, but two dead letters may have the same.
                    .id(format!("{}-{index}", message.id))
                    .message_body(&message.body)
                    .build()
                    .map_err(|error| {
                        Error::new(Kind::Bug, "build a dead letter's entry").with_source(error)
                    })?;
                request = request.entries(entry);
            }
            let answer = request.send().await.map_err(|error| {
                Error::new(Kind::Transient, "send dead letters")
                    .with_code(Code::DeadLetterNotSent)
                    .with_source(error)
            })?;
            // SQS reports failures per entry.
            let failed: Vec<&str> = answer.failed().iter().map(|entry| entry.id()).collect();
            if failed.is_empty() {
                return Ok(());
            }
            last_failure =
                answer.failed().iter().map(|entry| entry.code()).next().unwrap_or("unknown").to_owned();
            warn!(
                failed = failed.len(),
                of = group.len(),
                code = last_failure,
                "SQS refused dead letters; retrying"
            );
            let mut index = 0;
            group.retain(|message| {
                let id = format!("{}-{index}", message.id);
                index += 1;
                failed.contains(&id.as_str())
            });
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err(Error::new(
            Kind::Transient,
            format!("send dead letters: SQS refused {} ({last_failure})", group.len()),
        )
        .with_code(Code::DeadLetterNotSent))
    }
}
