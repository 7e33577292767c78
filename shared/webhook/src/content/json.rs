//! JSON bodies.

use std::borrow::Cow;

use millrace_jsonb::JsonPointer;
use millrace_jsonb::{JsonValue, Scanner, SyntaxError, find};

use super::collect::Collector;
use super::error::BodyError;

pub(super) fn read<'b>(
    collector: &mut Collector<'b>,
    start: usize,
    records: Option<&JsonPointer>,
) -> Result<Cow<'b, [u8]>, BodyError> {
    let body = collector.body();
    split(body, start, records, |value| collector.add(&value)).map_err(not_json)?;
    Ok(Cow::Borrowed(&body[start..]))
}

/// Calls `each` for every record of the JSON text that starts at `start`. The records are the elements of the array at
/// `records`. Without such an array they are the elements of the text when it is an array, or else the whole text.
pub(super) fn split(
    text: &[u8],
    start: usize,
    records: Option<&JsonPointer>,
    mut each: impl FnMut(JsonValue),
) -> Result<(), SyntaxError> {
    if let Some(pointer) = records {
        let found = find(&text[start..], pointer.steps())
            .map_err(|error| SyntaxError { offset: error.offset + start, ..error })?;
        if let Some(range) = found {
            let mut scanner = Scanner::starting_at(text, start + range.start);
            if scanner.enter_array() {
                return elements(&mut scanner, each);
            }
        }
    }
    let mut scanner = Scanner::starting_at(text, start);
    if scanner.enter_array() {
        elements(&mut scanner, each)?;
    } else {
        each(scanner.value()?);
    }
    scanner.end()
}

fn elements(scanner: &mut Scanner<'_>, mut each: impl FnMut(JsonValue)) -> Result<(), SyntaxError> {
    let mut first = true;
    while scanner.has_element(first)? {
        first = false;
        each(scanner.value()?);
    }
    Ok(())
}

/// The problem of a body that is not JSON.
pub(super) fn not_json(error: SyntaxError) -> BodyError {
    BodyError::malformed(format!("The body is not JSON: {error}."))
}
