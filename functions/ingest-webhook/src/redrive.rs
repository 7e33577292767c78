//! Deliveries on their way back: letters of whole deliveries and of single records, read again under today's
//! `sources.toml`. They were verified when they came; their signatures are not kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderName, HeaderValue};
use millrace::config::webhook::{Content, UNNAMED_EVENT_TYPE};
use millrace::config::{Sources, WebhookSource};
use millrace::dead_letter::door::{Fate, Outcome};
use millrace::dead_letter::{Letter, LetterKind, Payload, Reason};
use serde::Deserialize;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::content::{self, Options};
use crate::handler::{Attempt, IngestWebhook, NotTaken, events, refusal_reason, reject_letters};
use crate::letters::Sender;
use crate::problem::Problem;
use crate::store::{Delivery, NotStored, Stored};

/// How long a record is remembered that was put back, in days: longer than anybody keeps a letter.
const RECORD_DAYS: u16 = 365;

impl IngestWebhook {
    /// Takes letters of kind `delivery` back; the fate of each, in their order. They share flushes as requests do.
    pub async fn take_back(&self, letters: Vec<Letter>, deadline: Instant) -> Vec<Outcome> {
        join_all(letters.into_iter().map(async |letter| {
            let id = letter.id;
            let fate = match self.dead_letters.mailbox().open(&letter).await {
                Ok(letter) => self.take_back_one(&letter, deadline).await,
                Err(error) => Fate::of_error(&error),
            };
            Outcome { id, fate }
        }))
        .await
    }

    async fn take_back_one(&self, letter: &Letter, deadline: Instant) -> Fate {
        let again = match Again::of(letter, &self.sources) {
            Ok(again) => again,
            Err(why) => return Fate::Waits { why },
        };
        let parsed = match content::parse(&again.headers, &again.body, again.options) {
            Ok(parsed) => parsed,
            Err(problem) => return Fate::Failed { reason: problem_reason(&problem) },
        };
        if again.is_record {
            if let Some(reject) = parsed.rejects.first() {
                return Fate::Failed { reason: Reason::new(reject.code, reject.reason.clone()) };
            }
            if parsed.records.len() != 1 {
                return failed("malformed_body", "the letter holds something else than one JSON value");
            }
        }
        let sender = Sender {
            source: again.source,
            delivery_id: letter.origin.delivery_id.as_deref().unwrap_or_default(),
            dedupe_keys: &again.dedupe_keys,
            headers: &again.headers,
        };
        let rejects = reject_letters(&sender, &again.event_type, &parsed);
        let mut events = events(again.source, &again.headers, &again.event_type, parsed);
        for event in &mut events {
            // What a rule found in a header that was not kept, the letter still says.
            if event.event_type == UNNAMED_EVENT_TYPE {
                event.event_type.clone_from(&again.event_type);
            }
        }
        let delivery = Delivery {
            source: again.source.name.clone(),
            dedupe_keys: again.dedupe_keys.clone(),
            remembered_days: if again.is_record { RECORD_DAYS } else { again.source.dedupe_days },
            events,
        };
        if again.is_record {
            return match self.put(Arc::new(delivery), deadline).await {
                Ok(Stored::New { .. }) => Fate::Redriven,
                Ok(Stored::Duplicate) => Fate::Duplicate,
                Err(NotStored::Refused(refused)) => match refused.into_iter().next() {
                    Some((_, refusal)) => Fate::Failed { reason: refusal_reason(refusal) },
                    None => failed("refused_by_database", "the database refuses the record"),
                },
                Err(NotStored::Failed(error)) => Fate::Waits { why: error.chain() },
            };
        }
        // As when it came: the letters of its records go before the commit that leaves them behind.
        if let Err(error) = self.dead_letters.send(&rejects).await {
            return Fate::of_error(&error);
        }
        let attempt = Attempt { sender, event_type: &again.event_type, body: &again.body, deadline };
        match self.store_what_is_taken(delivery, &attempt).await {
            Ok(Stored::New { .. }) => Fate::Redriven,
            Ok(Stored::Duplicate) => Fate::Duplicate,
            Err(NotTaken::Failed(error)) => Fate::Waits { why: error.chain() },
            Err(NotTaken::NoPlace(problem)) => Fate::Waits { why: problem.detail.into_owned() },
        }
    }
}

/// A letter as the delivery that it was.
struct Again<'s> {
    source: &'s WebhookSource,
    options: Options<'s>,
    headers: HeaderMap,
    body: Vec<u8>,
    event_type: String,
    dedupe_keys: Vec<String>,
    is_record: bool,
}

impl<'s> Again<'s> {
    /// Why it cannot be tried at all: then its letter stays as it is.
    fn of(letter: &Letter, sources: &'s Sources) -> Result<Self, String> {
        let source = letter.source.as_deref().and_then(|name| sources.webhook(name));
        let (LetterKind::Delivery, Some(source)) = (letter.kind, source) else {
            return Err("sources.toml has no webhook of this name any more".to_owned());
        };
        let options = Options::from(source);
        let event_type = letter.event_type.clone().unwrap_or_else(|| UNNAMED_EVENT_TYPE.to_owned());
        if letter.origin.record.is_some() {
            let Some(raw) = letter.payload.to_raw() else {
                return Err("the letter holds no text of a record".to_owned());
            };
            // In brackets, so that a record that is an array stays one record.
            let body = [b"[", raw.as_slice(), b"]"].concat();
            return Ok(Again {
                source,
                options: Options { content: Content::Json, records: None, ..options },
                headers: HeaderMap::new(),
                body,
                event_type,
                dedupe_keys: vec![format!("letter:{}", letter.id)],
                is_record: true,
            });
        }
        let kept: Kept = match &letter.payload {
            Payload::Json(value) => {
                Kept::deserialize(value).map_err(|_| "the letter holds no delivery".to_owned())?
            }
            _ => return Err("the letter holds no delivery".to_owned()),
        };
        check_age(letter, source)?;
        Ok(Again {
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

/// The payload of a whole delivery's letter.
#[derive(Deserialize)]
struct Kept {
    dedupe_keys: Vec<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
    body_base64: Option<String>,
}

impl Kept {
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
        bytes.ok_or_else(|| "the letter holds no body".to_owned())
    }
}

/// It may have been stored after all: a commit can happen and its answer be lost. Only as long as its keys are remembered
/// is that known.
fn check_age(letter: &Letter, source: &WebhookSource) -> Result<(), String> {
    let failed_at = OffsetDateTime::parse(&letter.first_failed_at, &Rfc3339)
        .map_err(|_| "the letter does not say when it failed".to_owned())?;
    if OffsetDateTime::now_utc() - failed_at <= Duration::days(i64::from(source.dedupe_days)) {
        return Ok(());
    }
    Err(format!(
        "deliveries of {} are remembered for {} days (dedupe_days), and this one is older: whether it was stored after all \
         cannot be told any more; look for it in raw_events, then send it again with `millrace send`, or drop the letter",
        source.name, source.dedupe_days
    ))
}

fn problem_reason(problem: &Problem) -> Reason {
    let code = problem.kind.type_uri().rsplit(':').next().unwrap_or_default().replace('-', "_");
    Reason::new(code, problem.detail.clone())
}

fn failed(code: &str, message: &str) -> Fate {
    Fate::Failed { reason: Reason::new(code, message) }
}
