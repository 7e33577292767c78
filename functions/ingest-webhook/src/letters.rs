//! The dead letters of a delivery: itself when the database could not take it, and each of its records that became no event.

use millrace::dead_letter::{Letter, LetterKind, Origin, Payload, Reason};
use serde_json::{Value, json};

/// Whose letters these are.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'a> {
    pub source: &'a str,
    pub delivery_id: &'a str,
    /// By these it is known again when it is put back: the same delivery is stored once, whichever way it comes.
    pub dedupe_keys: &'a [String],
    pub content_type: Option<&'a str>,
}

impl Sender<'_> {
    /// The letter of a whole delivery, its body as it came: whoever puts it back reads it as the function would have.
    pub fn delivery_letter(&self, event_type: &str, body: &[u8], reason: Reason) -> Letter {
        let mut payload = json!({
            "dedupe_keys": self.dedupe_keys,
            "content_type": self.content_type,
        });
        match Payload::raw(body) {
            Payload::Json(text) => payload["body"] = text,
            Payload::Base64 { base64 } => payload["body_base64"] = Value::from(base64),
            Payload::Pointer { .. } => {}
        }
        self.letter(event_type, "", self.origin(None), reason, Payload::Json(payload))
    }

    /// The letter of one record, 0-based, as it stood in the body.
    pub fn record_letter(&self, event_type: &str, record: u64, raw: &[u8], reason: Reason) -> Letter {
        let name = format!("#{record}");
        self.letter(event_type, &name, self.origin(Some(record)), reason, Payload::raw(raw))
    }

    fn origin(&self, record: Option<u64>) -> Origin {
        Origin { delivery_id: Some(self.delivery_id.to_owned()), record, ..Origin::default() }
    }

    fn letter(
        &self,
        event_type: &str,
        part: &str,
        origin: Origin,
        reason: Reason,
        payload: Payload,
    ) -> Letter {
        Letter::new(
            LetterKind::Delivery,
            &format!("webhook:{}:{}{part}", self.source, self.delivery_id),
            Some(self.source),
            Some(event_type),
            reason,
            origin,
            payload,
        )
    }
}
