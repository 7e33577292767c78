//! Redrives dead letters of whole deliveries and of single records. Each is parsed again under the current
//! `sources.toml`. They were verified when they were received, and their signatures are not kept.

use millrace::Code;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderName, HeaderValue};
use millrace::config::{Sources, WebhookSource};

use millrace::dead_letter::redrive::{RedriveOutcome, RedriveResult};
use millrace::dead_letter::{DeadLetter, DeadLetterKind, Payload, Reason};
use millrace_webhook::{Content, UNNAMED_EVENT_TYPE};
use serde::Deserialize;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::dead_letters::DeliveryContext;
use crate::handler::{DeliveryAttempt, IngestWebhook, NotTaken, events, reject_dead_letters};
use crate::store::{Delivery, NotStored, Stored};
use millrace_webhook::content::{self, BodyError, BodyOptions};

/// How long the key of a redriven record is kept, in days: longer than any dead letter is kept.
const RECORD_DAYS: u16 = 365;

impl IngestWebhook {
    /// Redrives dead letters of kind `delivery` and returns the outcome of each, in their order. They share flushes as
    /// requests do.
    pub async fn redrive(&self, dead_letters: Vec<DeadLetter>, deadline: Instant) -> Vec<RedriveResult> {
        join_all(dead_letters.into_iter().map(async |dead_letter| {
            let id = dead_letter.id;
            let outcome = match self.dead_letter_queue.reader().open(&dead_letter).await {
                Ok(dead_letter) => self.redrive_one(&dead_letter, deadline).await,
                Err(error) => RedriveOutcome::of_error(&error),
            };
            RedriveResult { id, outcome }
        }))
        .await
    }

    async fn redrive_one(&self, dead_letter: &DeadLetter, deadline: Instant) -> RedriveOutcome {
        let redriven = match RedrivenDelivery::of(dead_letter, &self.sources) {
            Ok(redriven) => redriven,
            Err(message) => return RedriveOutcome::Pending { message },
        };
        let parsed = match content::parse(&redriven.headers, &redriven.body, redriven.options) {
            Ok(parsed) => parsed,
            Err(error) => return RedriveOutcome::Failed { reason: body_reason(&error) },
        };
        if redriven.is_record {
            if let Some(reject) = parsed.rejects.first() {
                return RedriveOutcome::Failed { reason: Reason::new(reject.code, reject.reason.clone()) };
            }
            if parsed.records.len() != 1 {
                return failed(
                    Code::MalformedBody,
                    "the dead letter holds something other than one JSON value",
                );
            }
        }
        let context = DeliveryContext {
            source: redriven.source,
            delivery_id: dead_letter.origin.delivery_id.as_deref().unwrap_or_default(),
            dedupe_keys: &redriven.dedupe_keys,
            headers: &redriven.headers,
        };
        let rejects = reject_dead_letters(&context, &redriven.event_type, &parsed);
        let mut events = events(redriven.source, &redriven.headers, &redriven.event_type, parsed);
        for event in &mut events {
            // The event type may come from a header that was not kept. The dead letter still holds it.
            if event.event_type == UNNAMED_EVENT_TYPE {
                event.event_type.clone_from(&redriven.event_type);
            }
        }
        let delivery = Delivery {
            source: redriven.source.name.clone(),
            dedupe_keys: redriven.dedupe_keys.clone(),
            remembered_days: if redriven.is_record { RECORD_DAYS } else { redriven.source.dedupe_days },
            events,
        };
        if redriven.is_record {
            return match self.put(Arc::new(delivery), deadline).await {
                Ok(Stored::New { .. }) => RedriveOutcome::Redriven,
                Ok(Stored::Duplicate) => RedriveOutcome::Duplicate,
                Err(NotStored::Refused(refused)) => match refused.into_iter().next() {
                    Some((_, refusal)) => RedriveOutcome::Failed { reason: Reason::refused(&refusal) },
                    None => failed(Code::RefusedByDatabase, "the database refuses the record"),
                },
                Err(NotStored::Failed(error)) => RedriveOutcome::Pending { message: error.chain() },
            };
        }
        // As for a request, the dead letters of its records are sent before the commit that omits the records.
        if let Err(error) = self.dead_letter_queue.send(&rejects).await {
            return RedriveOutcome::of_error(&error);
        }
        let attempt =
            DeliveryAttempt { context, event_type: &redriven.event_type, body: &redriven.body, deadline };
        match self.store_what_is_taken(delivery, &attempt).await {
            Ok(Stored::New { .. }) => RedriveOutcome::Redriven,
            Ok(Stored::Duplicate) => RedriveOutcome::Duplicate,
            Err(NotTaken::Failed(error)) => RedriveOutcome::Pending { message: error.chain() },
            Err(NotTaken::NoPlace(problem)) => {
                RedriveOutcome::Pending { message: problem.detail.into_owned() }
            }
        }
    }
}

/// A delivery restored from its dead letter.
struct RedrivenDelivery<'s> {
    source: &'s WebhookSource,
    options: BodyOptions<'s>,
    headers: HeaderMap,
    body: Vec<u8>,
    event_type: String,
    dedupe_keys: Vec<String>,
    is_record: bool,
}

impl<'s> RedrivenDelivery<'s> {
    /// The error is the reason why it cannot be tried. The dead letter then stays as it is.
    fn of(dead_letter: &DeadLetter, sources: &'s Sources) -> Result<Self, String> {
        let source = dead_letter.source.as_deref().and_then(|name| sources.webhook(name));
        let (DeadLetterKind::Delivery, Some(source)) = (dead_letter.kind, source) else {
            return Err("sources.toml no longer has a webhook of this name".to_owned());
        };
        let options = source.body_options();
        let event_type = dead_letter.event_type.clone().unwrap_or_else(|| UNNAMED_EVENT_TYPE.to_owned());
        if dead_letter.origin.record.is_some() {
            let Some(raw) = dead_letter.payload.to_raw() else {
                return Err("the dead letter holds no text of a record".to_owned());
            };
            // The brackets keep a record that is an array as one record.
            let body = [b"[", raw.as_slice(), b"]"].concat();
            return Ok(RedrivenDelivery {
                source,
                options: BodyOptions { content: Content::Json, records: None, ..options },
                headers: HeaderMap::new(),
                body,
                event_type,
                dedupe_keys: vec![format!("dead_letter:{}", dead_letter.id)],
                is_record: true,
            });
        }
        let kept: KeptDelivery = match &dead_letter.payload {
            Payload::Json(value) => KeptDelivery::deserialize(value)
                .map_err(|_| "the dead letter holds no delivery".to_owned())?,
            _ => return Err("the dead letter holds no delivery".to_owned()),
        };
        check_age(dead_letter, source)?;
        Ok(RedrivenDelivery {
            source,
            options,
            headers: kept.headers(),
            body: kept.body_bytes()?,
            event_type,
            dedupe_keys: kept.dedupe_keys,
            is_record: false,
        })
    }
}

/// The payload of a whole delivery's dead letter.
#[derive(Deserialize)]
struct KeptDelivery {
    dedupe_keys: Vec<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
    body_base64: Option<String>,
}

impl KeptDelivery {
    fn headers(&self) -> HeaderMap {
        let pair = |(name, value): (&String, &String)| {
            Some((name.parse::<HeaderName>().ok()?, value.parse::<HeaderValue>().ok()?))
        };
        self.headers.iter().filter_map(pair).collect()
    }

    fn body_bytes(&self) -> Result<Vec<u8>, String> {
        let bytes = match (&self.body, &self.body_base64) {
            (Some(text), _) => Some(text.clone().into_bytes()),
            (None, Some(text)) => STANDARD.decode(text).ok(),
            (None, None) => None,
        };
        bytes.ok_or_else(|| "the dead letter holds no body".to_owned())
    }
}

/// The delivery may have been stored: a commit can succeed although its reply is lost. Its keys show that only while
/// they are kept.
fn check_age(dead_letter: &DeadLetter, source: &WebhookSource) -> Result<(), String> {
    let failed_at = OffsetDateTime::parse(&dead_letter.first_failed_at, &Rfc3339)
        .map_err(|_| "the dead letter does not say when it failed".to_owned())?;
    if OffsetDateTime::now_utc() - failed_at <= Duration::days(i64::from(source.dedupe_days)) {
        return Ok(());
    }
    Err(format!(
        "deliveries of {} are remembered for {} days (dedupe_days), and this one is older: whether it was stored is \
         no longer known; look for it in raw_events, then send it again with `millrace send`, or drop the dead letter",
        source.name, source.dedupe_days
    ))
}

fn body_reason(error: &BodyError) -> Reason {
    let code = match error {
        BodyError::Empty => Code::EmptyBody,
        BodyError::Malformed(_) => Code::MalformedBody,
        BodyError::Unsupported(_) => Code::UnsupportedMediaType,
    };
    Reason::new(code, error.to_string())
}

fn failed(code: Code, message: &str) -> RedriveOutcome {
    RedriveOutcome::Failed { reason: Reason::new(code, message) }
}
