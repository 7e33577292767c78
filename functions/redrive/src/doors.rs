//! Where letters go back to: the functions that sent them, and the upload queue.

use aws_sdk_lambda::error::{DisplayErrorContext, SdkError};
use aws_sdk_lambda::primitives::Blob;
use millrace::dead_letter::door::{Answer, Fate, Outcome, Request};
use millrace::dead_letter::{Letter, LetterKind, Payload};
use millrace::{Error, Kind, Result};
use serde_json::{Value, json};

/// Lambda takes 6 MiB of a synchronous invocation; letters are escaped once more on the way.
const REQUEST_BYTES: usize = 3 << 20;

/// The ways back.
pub struct Doors {
    pub lambda: aws_sdk_lambda::Client,
    pub sqs: aws_sdk_sqs::Client,
    pub upload_queue_url: String,
    pub ingest_csv: String,
    pub ingest_webhook: String,
    pub transform: String,
}

impl Doors {
    /// Puts letters of one kind back; the fate of each, in their order.
    pub async fn put_back(&self, kind: LetterKind, letters: &[Letter]) -> Vec<Fate> {
        let function = match kind {
            LetterKind::Upload => {
                let mut fates = Vec::with_capacity(letters.len());
                for letter in letters {
                    fates.push(self.upload(letter).await.unwrap_or_else(|error| Fate::of_error(&error)));
                }
                return fates;
            }
            LetterKind::Rows => &self.ingest_csv,
            LetterKind::Delivery => &self.ingest_webhook,
            LetterKind::Event => &self.transform,
        };
        let mut fates = Vec::with_capacity(letters.len());
        for part in parts(letters) {
            match self.invoke(function, part).await {
                Ok(of_part) => fates.extend(of_part),
                Err(error) => {
                    fates.extend(vec![Fate::Waits { why: error.chain() }; part.len()]);
                }
            }
        }
        fates
    }

    /// A file goes the way it came. Its notification says which attempt this is, so that the file is read anew and not
    /// found to have been attempted before.
    async fn upload(&self, letter: &Letter) -> Result<Fate> {
        let notification = match &letter.payload {
            Payload::Json(payload) => payload.get("notification").filter(|value| value.is_object()),
            _ => None,
        };
        let Some(notification) = notification else {
            let why = "it holds no notification of a file: look at it, and drop it".to_owned();
            return Ok(Fate::Waits { why });
        };
        let body = again(notification, letter);
        self.sqs
            .send_message()
            .queue_url(&self.upload_queue_url)
            .message_body(body.to_string())
            .send()
            .await
            .map_err(|error| {
                Error::new(Kind::Transient, "put a file back in the upload queue")
                    .with_source(DisplayErrorContext(error).to_string())
            })?;
        Ok(Fate::Redriven)
    }

    async fn invoke(&self, function: &str, letters: &[Letter]) -> Result<Vec<Fate>> {
        let failed = |why: String| {
            Error::new(Kind::Transient, format!("invoke {function}: {why}")).with_code("door_closed")
        };
        let request = Request { redrive: letters.to_vec() };
        let payload = serde_json::to_vec(&request)
            .map_err(|error| Error::new(Kind::Bug, "write letters as JSON").with_source(error))?;
        let sent = self.lambda.invoke().function_name(function).payload(Blob::new(payload)).send().await;
        let answer = sent.map_err(|error| failed(said(error)))?;
        let body = answer.payload.unwrap_or_else(|| Blob::new(Vec::new())).into_inner();
        if answer.function_error.is_some() {
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            return Err(failed(body["errorMessage"].as_str().unwrap_or("it failed; see its log").to_owned()));
        }
        let Answer { fates } = serde_json::from_slice(&body)
            .map_err(|error| failed(format!("its answer cannot be read: {error}")))?;
        if fates.len() != letters.len()
            || fates.iter().zip(letters).any(|(fate, letter)| fate.id != letter.id)
        {
            return Err(failed("its answer is about other letters".to_owned()));
        }
        Ok(fates.into_iter().map(|Outcome { fate, .. }| fate).collect())
    }
}

fn said(error: SdkError<aws_sdk_lambda::operation::invoke::InvokeError>) -> String {
    match &error {
        SdkError::ServiceError(answer) => answer.err().to_string(),
        _ => DisplayErrorContext(error).to_string(),
    }
}

/// The notification with what ingest-csv needs to begin another attempt. One that AWS itself moved here was given up on
/// before it was known what is wrong: it is simply delivered again.
fn again(notification: &Value, letter: &Letter) -> Value {
    let mut body = notification.clone();
    if !matches!(letter.reason.code.as_str(), "received_too_often" | "invocation_failed") {
        body["millrace"] = json!({
            "attempt": letter.attempts.saturating_add(1),
            "first_failed_at": letter.first_failed_at,
        });
    }
    body
}

/// Letters in parts that an invocation takes.
fn parts(letters: &[Letter]) -> Vec<&[Letter]> {
    let mut parts = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, letter) in letters.iter().enumerate() {
        let weight = letter.to_body().len();
        if index > start && bytes + weight > REQUEST_BYTES {
            parts.push(&letters[start..index]);
            (start, bytes) = (index, 0);
        }
        bytes += weight;
    }
    if start < letters.len() {
        parts.push(&letters[start..]);
    }
    parts
}

#[cfg(test)]
mod tests {
    use millrace::dead_letter::{Origin, Reason};

    use super::*;

    fn letter(code: &str, bytes: usize) -> Letter {
        let payload = Payload::Json(json!({ "notification": { "Records": [] }, "x": "y".repeat(bytes) }));
        Letter::new(LetterKind::Upload, "o", None, None, Reason::new(code, "m"), Origin::default(), payload)
    }

    #[test]
    fn an_attempt_is_told_unless_aws_gave_up() {
        let letter_of_ours = letter("too_many_rejects", 0);
        let notification = json!({ "Records": [] });
        let body = again(&notification, &letter_of_ours);
        assert_eq!(body["millrace"]["attempt"], 2);
        assert_eq!(body["millrace"]["first_failed_at"], letter_of_ours.first_failed_at);
        assert_eq!(again(&notification, &letter("received_too_often", 0)), notification);
    }

    #[test]
    fn parts_hold_every_letter_and_no_more_than_is_taken() {
        let letters: Vec<Letter> =
            [10, 2 << 20, 2 << 20, 10, 4 << 20, 10].map(|bytes| letter("c", bytes)).into();
        let lengths: Vec<usize> = parts(&letters).iter().map(|part| part.len()).collect();
        assert_eq!(lengths, [2, 2, 1, 1]);
        assert!(parts(&[]).is_empty());
    }
}
