//! The envelope: the format of a dead letter.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::code::Code;
use crate::database::failure::PostgresError;

/// The ids of dead letters are UUIDv5 in this namespace, so the same failure always has the same id.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1d_93c4_2a57_4e0b_9c1e_5b7a_0d43_18e2);

/// The content of a dead letter, which determines its redrive target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterKind {
    /// A file, or a message of the upload queue that is not a notification.
    Upload,
    /// A record of a file.
    Rows,
    /// A webhook delivery.
    Delivery,
    /// An event that a model refused.
    Event,
}

impl DeadLetterKind {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            DeadLetterKind::Upload => "upload",
            DeadLetterKind::Rows => "rows",
            DeadLetterKind::Delivery => "delivery",
            DeadLetterKind::Event => "event",
        }
    }
}

/// The reason of a failure: a stable code for programs and a message for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    pub code: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlstate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl Reason {
    pub fn new(code: impl Into<Code>, message: impl Into<String>) -> Self {
        Reason {
            code: code.into().name().to_owned(),
            message: message.into(),
            column: None,
            sqlstate: None,
            model: None,
        }
    }

    /// The reason of [`Code::RefusedByDatabase`].
    pub fn refused(refusal: &PostgresError) -> Self {
        let sqlstate = Some(refusal.sqlstate.clone());
        Reason { sqlstate, ..Reason::new(Code::RefusedByDatabase, refusal.message.clone()) }
    }
}

/// The origin of the data. Only the fields that apply are set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Origin {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The load that read the file, in staging.loads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_id: Option<Uuid>,
    /// The sender's identifier of a webhook delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_id: Option<String>,
    /// 0-based number of the record in its file or delivery. Blank lines and the header are not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<u64>,
    /// 1-based physical line on which the record starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Bytes before the record in the decompressed UTF-8 text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_id: Option<Uuid>,
    /// The event's id in raw_events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
}

/// The data that failed, unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Payload {
    /// In an S3 object, because it exceeds the queue's limit. The object contains the whole dead letter.
    Pointer {
        pointer: PayloadPointer,
    },
    Base64 {
        base64: String,
    },
    Json(Value),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayloadPointer {
    pub bucket: String,
    pub key: String,
    pub bytes: u64,
}

impl PayloadPointer {
    /// The key of the object that contains the whole dead letter.
    pub fn key(id: Uuid) -> String {
        format!("dead-letters/{id}.json")
    }
}

/// A value that only resembles a pointer or base64 is kept unchanged, with all of its members.
impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let only = |name: &str| value.as_object().filter(|object| object.len() == 1)?.get(name);
        if let Some(pointer) = only("pointer").and_then(|pointer| PayloadPointer::deserialize(pointer).ok()) {
            return Ok(Payload::Pointer { pointer });
        }
        if let Some(base64) = only("base64").and_then(Value::as_str) {
            return Ok(Payload::Base64 { base64: base64.to_owned() });
        }
        Ok(Payload::Json(value))
    }
}

impl Payload {
    /// The bytes of [`Payload::raw`]; `None` for anything else.
    pub fn to_raw(&self) -> Option<Vec<u8>> {
        match self {
            Payload::Json(Value::String(text)) => Some(text.clone().into_bytes()),
            Payload::Base64 { base64 } => STANDARD.decode(base64).ok(),
            _ => None,
        }
    }

    /// Text stays readable; anything else is base64.
    pub fn raw(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Payload::Json(Value::String(text.to_owned())),
            Err(_) => Payload::Base64 { base64: STANDARD.encode(bytes) },
        }
    }
}

/// One dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    pub id: Uuid,
    pub kind: DeadLetterKind,
    pub source: Option<String>,
    pub event_type: Option<String>,
    pub reason: Reason,
    pub origin: Origin,
    pub payload: Payload,
    pub attempts: u32,
    /// RFC 3339, UTC.
    pub first_failed_at: String,
}

impl DeadLetter {
    /// `origin_name` identifies what failed, for the deterministic id: `s3://bucket/key?version=…@offset`.
    pub fn new(
        kind: DeadLetterKind,
        origin_name: &str,
        source: Option<&str>,
        event_type: Option<&str>,
        reason: Reason,
        origin: Origin,
        payload: Payload,
    ) -> Self {
        DeadLetter {
            id: Uuid::new_v5(&NAMESPACE, format!("{}|{origin_name}", kind.name()).as_bytes()),
            kind,
            source: source.map(str::to_owned),
            event_type: event_type.map(str::to_owned),
            reason,
            origin,
            payload,
            attempts: 1,
            first_failed_at: OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
        }
    }

    /// The dead letter after another failure: the same id, one more attempt and the new reason.
    #[must_use]
    pub fn failed_again(&self, mut reason: Reason) -> DeadLetter {
        // The model is the redrive target of an event.
        reason.model = reason.model.or_else(|| self.reason.model.clone());
        DeadLetter { reason, attempts: self.attempts.saturating_add(1), ..self.clone() }
    }

    /// Whether it is stored in the bucket. Only the key of this dead letter is accepted, because a payload could name any object.
    pub fn is_pointer(&self) -> bool {
        matches!(&self.payload, Payload::Pointer { pointer } if pointer.key == PayloadPointer::key(self.id))
    }

    /// The message body. SQS does not accept U+FFFE and U+FFFF, so these are escaped. JSON escapes control characters itself.
    pub fn to_body(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        if text.contains(['\u{fffe}', '\u{ffff}']) {
            text.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
        } else {
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn dead_letter(payload: Payload) -> DeadLetter {
        DeadLetter::new(
            DeadLetterKind::Rows,
            "s3://b/k?version=1@412",
            Some("shop"),
            Some("orders"),
            Reason::new(Code::WrongColumnCount, "3 columns where 4 are expected"),
            Origin { line: Some(7), offset: Some(412), ..Origin::default() },
            payload,
        )
    }

    #[test]
    fn the_same_failure_has_the_same_id() {
        assert_eq!(dead_letter(Payload::raw(b"a,b")).id, dead_letter(Payload::raw(b"x")).id);
    }

    #[test]
    fn a_body_reads_back_as_the_dead_letter() {
        for raw in [&b"a,b\n"[..], b"\xff\x00", "\u{ffff}\u{fffe}".as_bytes()] {
            let dead_letter = dead_letter(Payload::raw(raw));
            let body = dead_letter.to_body();
            assert!(!body.contains(['\u{fffe}', '\u{ffff}', '\0']));
            let read = serde_json::from_str::<DeadLetter>(&body).unwrap();
            assert_eq!(read, dead_letter);
            assert_eq!(read.payload.to_raw().as_deref(), Some(raw));
        }
    }

    #[test]
    fn a_pointer_reads_back_as_a_pointer() {
        let pointer = PayloadPointer { bucket: "b".into(), key: "dead-letters/1.json".into(), bytes: 9 };
        let dead_letter = dead_letter(Payload::Pointer { pointer });
        assert_eq!(
            serde_json::from_str::<DeadLetter>(&dead_letter.to_body()).unwrap().payload,
            dead_letter.payload
        );
    }

    #[test]
    fn a_value_that_looks_like_a_pointer_or_like_base64_keeps_everything() {
        for value in [
            json!({ "base64": "aGk=", "name": "x" }),
            json!({ "base64": 1 }),
            json!({ "pointer": { "bucket": "b", "key": "k", "bytes": 9 }, "name": "x" }),
            json!({ "pointer": { "bucket": "b", "key": "k", "bytes": 9, "name": "x" } }),
            json!({ "pointer": "k" }),
            json!(null),
        ] {
            let dead_letter = dead_letter(Payload::Json(value));
            let read: DeadLetter = serde_json::from_str(&dead_letter.to_body()).unwrap();
            assert_eq!(read, dead_letter);
        }
    }
}
