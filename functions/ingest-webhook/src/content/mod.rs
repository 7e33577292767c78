//! A body cut into records. Every record keeps the JSON text it came with.
//!
//! - [`kind`](mod@kind): what the body is, by the source's configuration and the headers.
//! - [`json`], [`ndjson`], [`form`], [`cloudevents`]: one reader each.
//! - [`collect`]: what jsonb refuses in a record becomes a reject, or is replaced.
//! - [`slack`]: the challenge that Slack wants back.

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

/// What a source says about its bodies.
#[derive(Debug, Clone, Copy)]
pub struct Options<'s> {
    pub content: Content,
    /// Where the array of records stands in a JSON body that has one.
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

/// A body, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed<'b> {
    /// The delivery as JSON, where a pointer is looked up: the body itself, what a form or an event in binary mode became,
    /// or the first line. It may hold what jsonb refuses.
    pub document: Cow<'b, [u8]>,
    pub records: Vec<Record<'b>>,
    pub rejects: Vec<Reject<'b>>,
}

/// Where a record stands in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// 0-based, rejects counted.
    pub record: u64,
    /// 1-based.
    pub line: u64,
    /// Bytes before it.
    pub offset: u64,
}

/// A JSON text that jsonb takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'b> {
    pub json: Cow<'b, str>,
    pub repair: Option<Repair<'b>>,
}

/// What was done to a record, for `staging.repairs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair<'b> {
    /// `nul_replaced`, `lone_surrogate_replaced` or `invalid_utf8_replaced`.
    pub rule: &'static str,
    pub position: Position,
    /// The record as it came; of a form, or an event in binary mode, the body.
    pub raw: Cow<'b, [u8]>,
}

/// A record that jsonb would refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject<'b> {
    /// `nul_character`, `lone_surrogate`, `invalid_utf8`, `number_out_of_range` or `nested_too_deep`.
    pub code: &'static str,
    /// For people; nothing of the record's content.
    pub reason: String,
    pub position: Position,
    /// As [`Repair::raw`].
    pub raw: Cow<'b, [u8]>,
}

/// Cuts the body of a verified delivery into records. An empty array gives none.
///
/// # Errors
/// 400 when the body is empty or is not what it should be, 415 when it should be something else.
pub fn parse<'b>(headers: &HeaderMap, body: &'b [u8], options: Options<'_>) -> Result<Parsed<'b>, Problem> {
    let kind = kind(headers, body, options.content)?;
    // PostgreSQL takes a byte order mark for a syntax error, and RFC 8259 allows to ignore it.
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
