//! The redrive targets: the functions that send dead letters, and the upload queue.

use aws_sdk_lambda::error::{DisplayErrorContext, SdkError};
use aws_sdk_lambda::primitives::Blob;
use millrace::dead_letter::redrive::{RedriveOutcome, RedriveRequest, RedriveResponse, RedriveResult};
use millrace::dead_letter::{DeadLetter, DeadLetterKind, Payload};
use millrace::notification::{UploadRedrive, with_redrive};
use millrace::{Code, Error, Kind, Result};
use serde_json::Value;

/// A synchronous Lambda invocation accepts 6 MiB. Dead letters are escaped once more in its payload.
const REQUEST_BYTES: usize = 3 << 20;

/// The clients of the redrive targets.
pub struct RedriveTargets {
    pub lambda: aws_sdk_lambda::Client,
    pub sqs: aws_sdk_sqs::Client,
    pub upload_queue_url: String,
    pub ingest_csv: String,
    pub ingest_webhook: String,
    pub transform: String,
}

impl RedriveTargets {
    /// Redrives dead letters of one kind and returns the outcome of each, in their order.
    pub async fn redrive(&self, kind: DeadLetterKind, dead_letters: &[DeadLetter]) -> Vec<RedriveOutcome> {
        let function = match kind {
            DeadLetterKind::Upload => {
                let mut outcomes = Vec::with_capacity(dead_letters.len());
                for dead_letter in dead_letters {
                    outcomes.push(
                        self.upload(dead_letter)
                            .await
                            .unwrap_or_else(|error| RedriveOutcome::of_error(&error)),
                    );
                }
                return outcomes;
            }
            DeadLetterKind::Rows => &self.ingest_csv,
            DeadLetterKind::Delivery => &self.ingest_webhook,
            DeadLetterKind::Event => &self.transform,
        };
        let mut outcomes = Vec::with_capacity(dead_letters.len());
        for part in parts(dead_letters) {
            match self.invoke(function, part).await {
                Ok(of_part) => outcomes.extend(of_part),
                Err(error) => {
                    outcomes.extend(vec![RedriveOutcome::Pending { message: error.chain() }; part.len()]);
                }
            }
        }
        outcomes
    }

    /// A file goes to the upload queue. Its notification holds the number of the attempt, so that the file is read
    /// again although it was attempted before.
    async fn upload(&self, dead_letter: &DeadLetter) -> Result<RedriveOutcome> {
        let notification = match &dead_letter.payload {
            Payload::Json(payload) => payload.get("notification").filter(|value| value.is_object()),
            _ => None,
        };
        let Some(notification) = notification else {
            let message = "it holds no notification of a file: look at it, and drop it".to_owned();
            return Ok(RedriveOutcome::Pending { message });
        };
        let body = with_attempt(notification, dead_letter);
        self.sqs
            .send_message()
            .queue_url(&self.upload_queue_url)
            .message_body(body.to_string())
            .send()
            .await
            .map_err(|error| {
                Error::new(Kind::Transient, "send a file to the upload queue")
                    .with_source(DisplayErrorContext(error).to_string())
            })?;
        Ok(RedriveOutcome::Redriven)
    }

    async fn invoke(&self, function: &str, dead_letters: &[DeadLetter]) -> Result<Vec<RedriveOutcome>> {
        let failed = |why: String| {
            Error::new(Kind::Transient, format!("invoke {function}: {why}"))
                .with_code(Code::RedriveTargetUnavailable)
        };
        let request = RedriveRequest { redrive: dead_letters.to_vec() };
        let payload = serde_json::to_vec(&request)
            .map_err(|error| Error::new(Kind::Bug, "write dead letters as JSON").with_source(error))?;
        let sent = self.lambda.invoke().function_name(function).payload(Blob::new(payload)).send().await;
        let answer = sent.map_err(|error| failed(said(error)))?;
        let body = answer.payload.unwrap_or_else(|| Blob::new(Vec::new())).into_inner();
        if answer.function_error.is_some() {
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            return Err(failed(body["errorMessage"].as_str().unwrap_or("it failed; see its log").to_owned()));
        }
        let RedriveResponse { outcomes } = serde_json::from_slice(&body)
            .map_err(|error| failed(format!("its answer cannot be read: {error}")))?;
        if outcomes.len() != dead_letters.len()
            || outcomes.iter().zip(dead_letters).any(|(outcome, dead_letter)| outcome.id != dead_letter.id)
        {
            return Err(failed("its answer is about other dead letters".to_owned()));
        }
        Ok(outcomes.into_iter().map(|RedriveResult { outcome, .. }| outcome).collect())
    }
}

fn said(error: SdkError<aws_sdk_lambda::operation::invoke::InvokeError>) -> String {
    match &error {
        SdkError::ServiceError(answer) => answer.err().to_string(),
        _ => DisplayErrorContext(error).to_string(),
    }
}

/// Adds to the notification what ingest-csv needs for another attempt. A notification that AWS moved to the queue
/// failed before its file was attempted, so it is sent unchanged.
fn with_attempt(notification: &Value, dead_letter: &DeadLetter) -> Value {
    if [Code::ReceivedTooOften, Code::InvocationFailed].iter().any(|code| dead_letter.reason.code == *code) {
        return notification.clone();
    }
    let attempt = dead_letter.attempts.saturating_add(1);
    with_redrive(
        notification,
        &UploadRedrive { attempt, first_failed_at: dead_letter.first_failed_at.clone() },
    )
}

/// Splits dead letters into parts that fit into an invocation.
fn parts(dead_letters: &[DeadLetter]) -> Vec<&[DeadLetter]> {
    let mut parts = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, dead_letter) in dead_letters.iter().enumerate() {
        let weight = dead_letter.to_body().len();
        if index > start && bytes + weight > REQUEST_BYTES {
            parts.push(&dead_letters[start..index]);
            (start, bytes) = (index, 0);
        }
        bytes += weight;
    }
    if start < dead_letters.len() {
        parts.push(&dead_letters[start..]);
    }
    parts
}

#[cfg(test)]
mod tests {
    use millrace::dead_letter::{Origin, Reason};
    use serde_json::json;

    use super::*;

    fn dead_letter(code: Code, bytes: usize) -> DeadLetter {
        let payload = Payload::Json(json!({ "notification": { "Records": [] }, "x": "y".repeat(bytes) }));
        DeadLetter::new(
            DeadLetterKind::Upload,
            "o",
            None,
            None,
            Reason::new(code, "m"),
            Origin::default(),
            payload,
        )
    }

    #[test]
    fn the_attempt_is_sent_unless_aws_moved_the_message() {
        let dead_letter_of_ours = dead_letter(Code::TooManyRejects, 0);
        let notification = json!({ "Records": [] });
        let body = with_attempt(&notification, &dead_letter_of_ours);
        assert_eq!(body["millrace"]["attempt"], 2);
        assert_eq!(body["millrace"]["first_failed_at"], dead_letter_of_ours.first_failed_at);
        assert_eq!(with_attempt(&notification, &dead_letter(Code::ReceivedTooOften, 0)), notification);
    }

    #[test]
    fn parts_hold_every_dead_letter_within_the_payload_limit() {
        let dead_letters: Vec<DeadLetter> = [10, 2 << 20, 2 << 20, 10, 4 << 20, 10]
            .map(|bytes| dead_letter(Code::TooManyRejects, bytes))
            .into();
        let lengths: Vec<usize> = parts(&dead_letters).iter().map(|part| part.len()).collect();
        assert_eq!(lengths, [2, 2, 1, 1]);
        assert!(parts(&[]).is_empty());
    }
}
