//! Checks the settings of the upload queue and the dead-letter queue, and the number of their messages.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use millrace::Result;
use serde_json::Value;

use super::finding::{Finding, or_ok};
use crate::dead_letters;
use crate::environment::{Environment, aws_failure};
use crate::terminal::{age, counted, figure};

/// AWS recommends six times the timeout of ingest-csv.
const VISIBILITY_SECONDS: u64 = 6 * 300;
/// The maximum retention of SQS.
const RETENTION_SECONDS: u64 = 14 * 86_400;
const UPLOADS_WAITING: i64 = 1_000;
const DEAD_LETTERS: i64 = 10_000;
/// Four days before SQS deletes the message.
const DEAD_LETTER_AGE: Duration = Duration::from_secs(10 * 86_400);

type Attributes = HashMap<QueueAttributeName, String>;

/// The settings of a queue.
pub async fn attributes(sqs: &Client, queue_url: &str) -> Result<Attributes> {
    let answer = sqs
        .get_queue_attributes()
        .queue_url(queue_url)
        .attribute_names(QueueAttributeName::All)
        .send()
        .await
        .map_err(|error| aws_failure("read the settings of a queue", &error))?;
    Ok(answer.attributes.unwrap_or_default())
}

/// The ARN of a queue, from its attributes.
pub fn arn(attributes: &Attributes) -> &str {
    attributes.get(&QueueAttributeName::QueueArn).map_or("", String::as_str)
}

/// Compares the settings of both queues, each with its URL, with the template.
pub fn settings(
    (queue, uploads): (&str, &Attributes),
    (dead_letter_queue, dead_letters): (&str, &Attributes),
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let visibility = number(uploads, &QueueAttributeName::VisibilityTimeout);
    if visibility < VISIBILITY_SECONDS {
        let found = format!(
            "the visibility timeout of the upload queue is {visibility} s, less than six times the timeout of ingest-csv (300 s): a file may be loaded twice concurrently"
        );
        let action = set(queue, &format!("VisibilityTimeout={VISIBILITY_SECONDS}"));
        findings.push(Finding::problem("upload-queue", found, action));
    }
    findings.extend(redrive(uploads, arn(dead_letters), queue));
    findings.extend(retention("upload-queue", "upload queue", uploads, queue));
    let kept = retention("dead-letter-queue", "dead-letter queue", dead_letters, dead_letter_queue);
    let uploads = or_ok(findings, "upload-queue", "timeout, redrive policy and retention are right");
    let dead_letters =
        or_ok(kept.into_iter().collect(), "dead-letter-queue", "keeps dead letters for 14 days");
    uploads.into_iter().chain(dead_letters).collect()
}

fn redrive(uploads: &Attributes, dead_letters: &str, queue: &str) -> Option<Finding> {
    let policy = uploads.get(&QueueAttributeName::RedrivePolicy);
    let policy: Value = policy.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let target = policy["deadLetterTargetArn"].as_str().unwrap_or_default();
    // A template or a console may write it as a string.
    let count = &policy["maxReceiveCount"];
    let count = count.as_u64().or_else(|| count.as_str()?.parse().ok()).unwrap_or(0);
    if target == dead_letters && count > 0 {
        return None;
    }
    let found = match target {
        "" => {
            "the upload queue has no redrive policy: a notification that always fails is lost after 14 days"
                .to_owned()
        }
        other if other != dead_letters => {
            format!(
                "the redrive policy of the upload queue names {other}, which is not the dead-letter queue"
            )
        }
        _ => "the redrive policy of the upload queue has no maxReceiveCount".to_owned(),
    };
    let policy = format!("{{\"deadLetterTargetArn\":\"{dead_letters}\",\"maxReceiveCount\":\"20\"}}");
    let attributes = serde_json::json!({ "RedrivePolicy": policy }).to_string();
    Some(Finding::problem("upload-queue", found, set(queue, &format!("'{attributes}'"))))
}

fn retention(check: &'static str, name: &str, attributes: &Attributes, queue: &str) -> Option<Finding> {
    let seconds = number(attributes, &QueueAttributeName::MessageRetentionPeriod);
    (seconds < RETENTION_SECONDS).then(|| {
        let found = format!("the retention period of the {name} is {}, and not 14 days", age(seconds as f64));
        Finding::problem(check, found, set(queue, &format!("MessageRetentionPeriod={RETENTION_SECONDS}")))
    })
}

fn number(attributes: &Attributes, name: &QueueAttributeName) -> u64 {
    attributes.get(name).and_then(|value| value.parse().ok()).unwrap_or(0)
}

fn set(queue: &str, attributes: &str) -> String {
    format!("aws sqs set-queue-attributes --queue-url {queue} --attributes {attributes}")
}

/// The number of messages in both queues.
pub async fn depths(sqs: &Client, environment: &Environment) -> Result<Vec<Finding>> {
    let uploads = dead_letters::depth(sqs, &environment.upload_queue_url).await?;
    let dead_letters = dead_letters::depth(sqs, &environment.dead_letter_queue_url).await?;
    Ok(vec![uploads_waiting(uploads), dead_letters_waiting(dead_letters)])
}

fn uploads_waiting(count: i64) -> Finding {
    let found = format!("{} waiting", counted(count, "upload", "uploads"));
    if count <= UPLOADS_WAITING {
        return Finding::ok("uploads-waiting", found);
    }
    let found = format!(
        "{found}, more than {}: ingest-csv does not keep up, or does not run",
        figure(UPLOADS_WAITING)
    );
    Finding::problem("uploads-waiting", found, "aws logs tail /aws/lambda/millrace-ingest-csv --since 1h")
}

fn dead_letters_waiting(count: i64) -> Finding {
    let found = counted(count, "dead letter", "dead letters");
    if count <= DEAD_LETTERS {
        return Finding::ok("dead-letters", found);
    }
    let found = format!("{found}, more than {}", figure(DEAD_LETTERS));
    Finding::problem("dead-letters", found, "millrace dead-letters list")
}

/// The age of the oldest of a few dead letters. SQS determines which messages it returns, usually old ones first.
pub async fn oldest_dead_letter(sqs: &Client, queue_url: &str) -> Result<Vec<Finding>> {
    let answer = sqs
        .receive_message()
        .queue_url(queue_url)
        .max_number_of_messages(10)
        .visibility_timeout(30)
        .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
        .send()
        .await
        .map_err(|error| aws_failure("receive from the dead-letter queue", &error))?;
    let messages = answer.messages.unwrap_or_default();
    let mut oldest = None;
    for message in &messages {
        let sent = message.attributes.as_ref().and_then(|attributes| {
            attributes.get(&MessageSystemAttributeName::SentTimestamp)?.parse::<u64>().ok()
        });
        oldest = [oldest, sent].into_iter().flatten().min();
    }
    // Make it visible immediately. If this fails, it becomes visible when its visibility timeout ends.
    for receipt in messages.iter().filter_map(|message| message.receipt_handle.as_deref()) {
        sqs.change_message_visibility()
            .queue_url(queue_url)
            .receipt_handle(receipt)
            .visibility_timeout(0)
            .send()
            .await
            .map_err(|error| aws_failure("make a dead letter visible", &error))?;
    }
    let Some(sent) = oldest else { return Ok(Vec::new()) };
    let sent = UNIX_EPOCH + Duration::from_millis(sent);
    Ok(vec![dead_letter_age(SystemTime::now().duration_since(sent).unwrap_or_default())])
}

fn dead_letter_age(oldest: Duration) -> Finding {
    let found = format!("the oldest dead letter seen is {} old", age(oldest.as_secs_f64()));
    if oldest <= DEAD_LETTER_AGE {
        return Finding::ok("dead-letter-age", found);
    }
    let found = format!("{found}; SQS deletes it after 14 days");
    Finding::problem("dead-letter-age", found, "millrace dead-letters list --older-than 10d")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    fn uploads() -> Attributes {
        let policy = r#"{"deadLetterTargetArn":"arn:d","maxReceiveCount":"20"}"#;
        HashMap::from([
            (QueueAttributeName::VisibilityTimeout, "1800".to_owned()),
            (QueueAttributeName::MessageRetentionPeriod, "1209600".to_owned()),
            (QueueAttributeName::RedrivePolicy, policy.to_owned()),
        ])
    }

    fn dead_letters() -> Attributes {
        HashMap::from([
            (QueueAttributeName::QueueArn, "arn:d".to_owned()),
            (QueueAttributeName::MessageRetentionPeriod, "1209600".to_owned()),
        ])
    }

    fn found(uploads: &Attributes, dead_letters: &Attributes) -> Vec<(&'static str, Level)> {
        settings(("http://q/uploads", uploads), ("http://q/dead-letters", dead_letters))
            .into_iter()
            .map(|finding| (finding.check, finding.level))
            .filter(|(_, level)| *level != Level::Ok)
            .collect()
    }

    #[test]
    fn a_queue_that_is_set_otherwise_is_found() {
        assert_eq!(found(&uploads(), &dead_letters()), []);
        let problem = [("upload-queue", Level::Problem)];
        for (name, value) in [
            (QueueAttributeName::VisibilityTimeout, "1799"),
            (QueueAttributeName::MessageRetentionPeriod, "345600"),
            (QueueAttributeName::RedrivePolicy, ""),
            (QueueAttributeName::RedrivePolicy, r#"{"deadLetterTargetArn":"arn:other","maxReceiveCount":5}"#),
            (QueueAttributeName::RedrivePolicy, r#"{"deadLetterTargetArn":"arn:d"}"#),
        ] {
            let mut uploads = uploads();
            uploads.insert(name, value.to_owned());
            assert_eq!(found(&uploads, &dead_letters()), problem, "{value}");
        }
        let mut short = dead_letters();
        short.insert(QueueAttributeName::MessageRetentionPeriod, "60".to_owned());
        assert_eq!(found(&uploads(), &short), [("dead-letter-queue", Level::Problem)]);
    }

    #[test]
    fn a_depth_and_an_age_have_their_limit() {
        assert_eq!(uploads_waiting(1_000).level, Level::Ok);
        assert_eq!(uploads_waiting(1_001).level, Level::Problem);
        assert_eq!(dead_letters_waiting(10_000).level, Level::Ok);
        assert_eq!(dead_letters_waiting(10_001).level, Level::Problem);
        assert_eq!(dead_letter_age(Duration::from_secs(10 * 86_400)).level, Level::Ok);
        assert_eq!(dead_letter_age(Duration::from_secs(10 * 86_400 + 1)).level, Level::Problem);
    }
}
