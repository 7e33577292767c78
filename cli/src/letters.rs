//! Looking at dead letters without taking them.

use aws_sdk_sqs::types::{ChangeMessageVisibilityBatchRequestEntry, QueueAttributeName};
use millrace::dead_letter::Letter;
use millrace::{Error, Kind, Result};

use crate::environment::aws_failure;

/// Hidden from others while we look; put back as soon as we have seen them.
const HIDDEN_SECONDS: i32 = 30;

/// A message of the dead-letter queue.
#[derive(Debug, Clone)]
pub enum Peeked {
    Letter(Box<Letter>),
    /// Not ours: a notification that was delivered in vain too often comes as S3 sent it.
    Raw(String),
}

/// Up to `limit` messages of the queue, which stay in it.
pub async fn peek(sqs: &aws_sdk_sqs::Client, queue_url: &str, limit: usize) -> Result<Vec<Peeked>> {
    let mut found = Vec::new();
    let mut receipts: Vec<String> = Vec::new();
    let outcome = receive(sqs, queue_url, limit, &mut found, &mut receipts).await;
    // Also when receiving failed half way: what was seen goes back at once.
    put_back(sqs, queue_url, &receipts).await?;
    outcome?;
    Ok(found)
}

async fn receive(
    sqs: &aws_sdk_sqs::Client,
    queue_url: &str,
    limit: usize,
    found: &mut Vec<Peeked>,
    receipts: &mut Vec<String>,
) -> Result<()> {
    while found.len() < limit {
        let answer = sqs
            .receive_message()
            .queue_url(queue_url)
            .max_number_of_messages(10)
            .visibility_timeout(HIDDEN_SECONDS)
            .send()
            .await
            .map_err(|error| aws_failure("look into the dead-letter queue", &error))?;
        let messages = answer.messages.unwrap_or_default();
        if messages.is_empty() {
            break;
        }
        for message in messages {
            receipts.extend(message.receipt_handle);
            let body = message.body.unwrap_or_default();
            found.push(match serde_json::from_str(&body) {
                Ok(letter) => Peeked::Letter(Box::new(letter)),
                Err(_) => Peeked::Raw(body),
            });
        }
    }
    Ok(())
}

async fn put_back(sqs: &aws_sdk_sqs::Client, queue_url: &str, receipts: &[String]) -> Result<()> {
    for group in receipts.chunks(10) {
        let mut request = sqs.change_message_visibility_batch().queue_url(queue_url);
        for (index, receipt) in group.iter().enumerate() {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(receipt)
                .visibility_timeout(0)
                .build()
                .map_err(|error| Error::new(Kind::Bug, "put dead letters back").with_source(error))?;
            request = request.entries(entry);
        }
        // An entry that is refused comes back by itself, after the time it is hidden for.
        request.send().await.map_err(|error| aws_failure("put dead letters back", &error))?;
    }
    Ok(())
}

/// Messages in a queue, those being worked on included. SQS calls it approximate.
pub async fn depth(sqs: &aws_sdk_sqs::Client, queue_url: &str) -> Result<i64> {
    let answer = sqs
        .get_queue_attributes()
        .queue_url(queue_url)
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessages)
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesDelayed)
        .send()
        .await
        .map_err(|error| aws_failure("ask for the depth of a queue", &error))?;
    answer
        .attributes
        .unwrap_or_default()
        .values()
        .map(|value| value.parse::<i64>())
        .sum::<std::result::Result<i64, _>>()
        .map_err(|error| Error::new(Kind::Contract, "the depth of a queue is no number").with_source(error))
}
