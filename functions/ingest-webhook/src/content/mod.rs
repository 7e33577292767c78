//! Splits a body into records. Every record keeps its original JSON text.
//!
//! - [`kind`](mod@kind): the kind of the body, by the source's configuration and the headers.
//! - [`json`], [`ndjson`], [`form`], [`cloudevents`]: one reader for each kind.
//! - [`collect`]: a record that jsonb refuses becomes a reject, or is repaired.
//! - [`slack`]: the challenge of Slack's URL verification.

mod cloudevents;
mod collect;
mod form;
mod json;
mod kind;
mod ndjson;
pub mod slack;

use std::borrow::Cow;

use http::HeaderMap;
use millrace::config::csv::InvalidCharacters;
use millrace::config::webhook::Content;
use millrace::config::{Pointer, WebhookSource};
use millrace::jsonb::SyntaxError;

use self::collect::Collector;
use self::kind::{BodyKind, kind};
use crate::problem::{Problem, ProblemKind};

/// A source's configuration for its bodies.
#[derive(Debug, Clone, Copy)]
pub struct Options<'s> {
    pub content: Content,
    /// The pointer to the array of records in a JSON body that has one.
    pub records: Option<&'s Pointer>,
    pub invalid_characters: InvalidCharacters,
}

impl<'s> From<&'s WebhookSource> for Options<'s> {
    fn from(source: &'s WebhookSource) -> Self {
        Options {
            content: source.content,
            records: source.records.as_ref(),
            invalid_characters: source.invalid_characters,
        }
    }
}

/// A parsed body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed<'b> {
    /// The delivery as JSON, in which pointers are looked up: the body, the JSON form of a form or of an event in
    /// binary mode, or the first line. It may contain what jsonb refuses.
    pub document: Cow<'b, [u8]>,
    pub records: Vec<Record<'b>>,
    pub rejects: Vec<Reject<'b>>,
}

/// The position of a record in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// 0-based. Rejects are counted.
    pub record: u64,
    /// 1-based.
    pub line: u64,
    /// The number of bytes before it.
    pub offset: u64,
}

/// A JSON text that jsonb accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'b> {
    pub json: Cow<'b, str>,
    pub repair: Option<Repair<'b>>,
}

/// A repair of a record, for `staging.repairs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair<'b> {
    /// `nul_replaced`, `lone_surrogate_replaced` or `invalid_utf8_replaced`.
    pub rule: &'static str,
    pub position: Position,
    /// The original record. For a form or an event in binary mode it is the body.
    pub raw: Cow<'b, [u8]>,
}

/// A record that jsonb refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject<'b> {
    /// `nul_character`, `lone_surrogate`, `invalid_utf8`, `number_out_of_range` or `nested_too_deep`.
    pub code: &'static str,
    /// For operators. It contains none of the record's content.
    pub reason: String,
    pub position: Position,
    /// As [`Repair::raw`].
    pub raw: Cow<'b, [u8]>,
}

/// Splits the body of a verified delivery into records. An empty array has none.
///
/// # Errors
/// 400 when the body is empty or malformed, 415 when its type is not supported.
pub fn parse<'b>(headers: &HeaderMap, body: &'b [u8], options: Options<'_>) -> Result<Parsed<'b>, Problem> {
    let kind = kind(headers, body, options.content)?;
    // PostgreSQL treats a byte order mark as a syntax error. RFC 8259 allows a parser to ignore it.
    let start = if kind != BodyKind::BinaryEvent && body.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    if kind != BodyKind::BinaryEvent && body[start..].trim_ascii().is_empty() {
        return Err(Problem::new(ProblemKind::EmptyBody, "A delivery has a body."));
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

/// The problem of a body that is not JSON.
fn not_json(error: SyntaxError) -> Problem {
    Problem::malformed(format!("The body is not JSON: {error}."))
}

#[cfg(test)]
mod tests;
