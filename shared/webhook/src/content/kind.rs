//! The kind of a body, by the source's configuration and the headers.

use super::format::Content;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use millrace_jsonb::Scanner;

use super::error::BodyError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyKind {
    /// One JSON value. Each element of an array is a record.
    Json,
    /// One JSON value per line.
    Ndjson,
    Form,
    /// A CloudEvent in JSON format.
    StructuredEvent,
    /// A JSON array of CloudEvents.
    EventBatch,
    /// A CloudEvent with its attributes in the headers and its data in the body.
    BinaryEvent,
}

/// # Errors
/// A content type or a content encoding that is not supported.
pub(super) fn kind(headers: &HeaderMap, body: &[u8], content: Content) -> Result<BodyKind, BodyError> {
    for encoding in headers.get_all(CONTENT_ENCODING) {
        if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") {
            return Err(unsupported("Compressed bodies are not taken: send it without Content-Encoding."));
        }
    }
    match content {
        Content::Json => Ok(BodyKind::Json),
        Content::Ndjson => Ok(BodyKind::Ndjson),
        Content::Form => Ok(BodyKind::Form),
        // A CloudEvent without a content type is JSON.
        Content::Cloudevents | Content::Auto => match event_kind(headers)? {
            Some(kind) => Ok(kind),
            None => by_type(headers, body),
        },
    }
}

fn event_kind(headers: &HeaderMap) -> Result<Option<BodyKind>, BodyError> {
    match media_type(headers).as_deref() {
        Some("application/cloudevents+json") => Ok(Some(BodyKind::StructuredEvent)),
        Some("application/cloudevents-batch+json") => Ok(Some(BodyKind::EventBatch)),
        Some(other) if other.starts_with("application/cloudevents") => {
            Err(unsupported("Of the CloudEvents formats JSON alone is taken."))
        }
        _ => Ok(headers.contains_key("ce-specversion").then_some(BodyKind::BinaryEvent)),
    }
}

fn by_type(headers: &HeaderMap, body: &[u8]) -> Result<BodyKind, BodyError> {
    let Some(media_type) = media_type(headers) else { return Ok(BodyKind::Json) };
    match media_type.as_str() {
        // Programs that do not know the type of the body send the last two.
        "application/json" | "text/json" | "text/plain" | "application/octet-stream" => Ok(BodyKind::Json),
        "application/x-ndjson"
        | "application/ndjson"
        | "application/jsonl"
        | "application/x-jsonlines"
        | "application/jsonlines"
        | "text/x-ndjson" => Ok(BodyKind::Ndjson),
        // curl sends this type for every body. A form does not start with a bracket.
        "application/x-www-form-urlencoded" if is_json_document(body) => Ok(BodyKind::Json),
        "application/x-www-form-urlencoded" => Ok(BodyKind::Form),
        other if other.ends_with("+json") => Ok(BodyKind::Json),
        _ => Err(unsupported(
            "The accepted content types are JSON, NDJSON, URL-encoded forms and CloudEvents.",
        )),
    }
}

fn is_json_document(body: &[u8]) -> bool {
    let mut scanner = Scanner::new(body);
    matches!(scanner.peek(), Some(b'{' | b'[')) && scanner.value().is_ok() && scanner.end().is_ok()
}

fn unsupported(detail: &'static str) -> BodyError {
    BodyError::Unsupported(detail)
}

/// The `Content-Type` without its parameters, in lower case, or `None` when the header is missing.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?;
    let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    (!essence.is_empty()).then(|| String::from_utf8_lossy(essence).to_ascii_lowercase())
}
