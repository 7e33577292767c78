//! The dead letters of a delivery: one for a delivery that the database did not accept, and one for each record that
//! did not become an event.

use std::collections::BTreeMap;

use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE};
use http::{HeaderMap, HeaderName};
use millrace::config::WebhookSource;
use millrace::dead_letter::{DeadLetter, DeadLetterKind, Origin, Payload, Reason};
use millrace_webhook::{EventTypeRule, ValueLocation};
use serde_json::{Value, json};

/// The delivery that the dead letters belong to.
#[derive(Debug, Clone, Copy)]
pub struct DeliveryContext<'a> {
    pub source: &'a WebhookSource,
    pub delivery_id: &'a str,
    /// Redrive stores the delivery with the same keys, so that it is stored once even if it was already committed.
    pub dedupe_keys: &'a [String],
    pub headers: &'a HeaderMap,
}

impl DeliveryContext<'_> {
    /// The dead letter of a whole delivery, with its original body. Redrive parses the body as the function does.
    pub fn delivery_dead_letter(&self, event_type: &str, body: &[u8], reason: Reason) -> DeadLetter {
        let mut payload = json!({
            "dedupe_keys": self.dedupe_keys,
            "headers": self.kept_headers(),
        });
        match Payload::raw(body) {
            Payload::Json(text) => payload["body"] = text,
            Payload::Base64 { base64 } => payload["body_base64"] = Value::from(base64),
            Payload::Pointer { .. } => {}
        }
        self.dead_letter(event_type, "", self.origin(None), reason, Payload::Json(payload))
    }

    /// The dead letter of one record, with the record's original text. `record` is 0-based.
    pub fn record_dead_letter(
        &self,
        event_type: &str,
        record: u64,
        raw: &[u8],
        reason: Reason,
    ) -> DeadLetter {
        let name = format!("#{record}");
        self.dead_letter(event_type, &name, self.origin(Some(record)), reason, Payload::raw(raw))
    }

    /// The headers that parsing and the event type depend on. Signatures and credentials are never kept.
    fn kept_headers(&self) -> BTreeMap<&str, &str> {
        let rules = self.source.event_type.iter().filter_map(|rule| match rule {
            EventTypeRule::Places(places) => Some(places.iter()),
            EventTypeRule::Constant(_) => None,
        });
        let named: Vec<&str> = rules
            .flatten()
            .filter_map(|place| match place {
                ValueLocation::Header(name) => Some(name.as_str()),
                ValueLocation::Pointer(_) => None,
            })
            .collect();
        let is_kept = |name: &HeaderName| {
            name == CONTENT_TYPE
                || name.as_str().starts_with("ce-")
                || named.iter().any(|named| named.eq_ignore_ascii_case(name.as_str()))
        };
        let is_secret = |name: &HeaderName| name == AUTHORIZATION || name == COOKIE;
        self.headers
            .iter()
            .filter(|(name, _)| is_kept(name) && !is_secret(name))
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
            .collect()
    }

    fn origin(&self, record: Option<u64>) -> Origin {
        Origin { delivery_id: Some(self.delivery_id.to_owned()), record, ..Origin::default() }
    }

    fn dead_letter(
        &self,
        event_type: &str,
        part: &str,
        origin: Origin,
        reason: Reason,
        payload: Payload,
    ) -> DeadLetter {
        DeadLetter::new(
            DeadLetterKind::Delivery,
            &format!("webhook:{}:{}{part}", self.source.name, self.delivery_id),
            Some(&self.source.name),
            Some(event_type),
            reason,
            origin,
            payload,
        )
    }
}
