//! Splits a body into records. Every record keeps its original JSON text.
//!
//! - [`kind`](mod@kind): the kind of the body, by the source's configuration and the headers.
//! - [`json`], [`ndjson`], [`form`], [`cloudevents`]: one reader for each kind.
//! - [`record`]: a parsed body. [`collect`]: a record that jsonb refuses becomes a reject, or is repaired.
//! - [`slack`]: the challenge of Slack's URL verification.

mod cloudevents;
mod code;
mod collect;
mod error;
mod form;
mod format;
mod json;
mod kind;
mod ndjson;
mod record;
pub mod slack;

use http::HeaderMap;
use millrace_jsonb::InvalidCharacters;
use millrace_jsonb::JsonPointer;

pub use self::code::RejectCode;
use self::collect::Collector;
pub use self::error::BodyError;
pub use self::format::Content;
use self::kind::{BodyKind, kind};
pub use self::record::{BodyPosition, BodyRecord, BodyReject, BodyRepair, Parsed};

/// A source's configuration for its bodies.
#[derive(Debug, Clone, Copy)]
pub struct BodyOptions<'s> {
    pub content: Content,
    /// The pointer to the array of records in a JSON body that has one.
    pub records: Option<&'s JsonPointer>,
    pub invalid_characters: InvalidCharacters,
}

/// Splits the body of a verified delivery into records. An empty array has none.
///
/// # Errors
/// The body is empty or malformed, or its type is not supported.
pub fn parse<'b>(
    headers: &HeaderMap,
    body: &'b [u8],
    options: BodyOptions<'_>,
) -> Result<Parsed<'b>, BodyError> {
    let kind = kind(headers, body, options.content)?;
    // PostgreSQL treats a byte order mark as a syntax error. RFC 8259 allows a parser to ignore it.
    let start = if kind != BodyKind::BinaryEvent && body.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    if kind != BodyKind::BinaryEvent && body[start..].trim_ascii().is_empty() {
        return Err(BodyError::Empty);
    }
    let mut collector = Collector::new(body, options.invalid_characters);
    let document = match kind {
        BodyKind::Json => json::read(&mut collector, start, options.records)?,
        BodyKind::Ndjson => ndjson::read(&mut collector, start)?,
        BodyKind::Form => form::read(&mut collector, start, options.records),
        BodyKind::StructuredEvent => {
            cloudevents::check_structured(body, start)?;
            json::read(&mut collector, start, options.records)?
        }
        BodyKind::EventBatch => {
            cloudevents::check_batch(body, start)?;
            json::read(&mut collector, start, None)?
        }
        BodyKind::BinaryEvent => cloudevents::read_binary(&mut collector, headers)?,
    };
    Ok(collector.finish(document))
}

#[cfg(test)]
mod tests;
