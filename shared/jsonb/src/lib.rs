//! Checks whether PostgreSQL's jsonb accepts a JSON text, before it is sent, because one refused row fails a whole COPY.
//!
//! JSON text is validated and split, and never converted to values, so that it is stored unchanged: numbers of any length, the
//! order of keys, and duplicate keys (of which jsonb keeps the last).
//!
//! - [`scan`]: finds, in one pass over a text, where values begin and end, and what jsonb refuses in them.
//! - [`pointer`](mod@pointer): JSON pointers. [`find`](mod@find): finds the value that a pointer names.
//! - [`invalid_characters`]: whether a record with characters that jsonb refuses is rejected or repaired.
//! - [`replace`]: replaces these characters by U+FFFD.
//! - [`write`](mod@write): writes strings as JSON.

mod find;
mod invalid_characters;
mod limits;
mod pointer;
mod replace;
mod scan;
mod write;

pub use find::find;
pub use invalid_characters::InvalidCharacters;
pub use limits::{MAX_DEPTH, MAX_EXPONENT, MAX_FRACTION_DIGITS, MAX_INTEGER_DIGITS};
pub use pointer::JsonPointer;
pub use replace::replace_characters;
pub use scan::{DefectKind, JsonDefect, JsonValue, Scanner, SyntaxError};
pub use write::write_string;

/// Whether `text` is one JSON value that jsonb accepts. Whitespace around it is allowed. `text` is UTF-8.
pub fn is_json(text: &[u8]) -> bool {
    let mut scanner = Scanner::new(text);
    matches!(scanner.value(), Ok(value) if value.defect.is_none()) && scanner.end().is_ok()
}

/// Whether `text` is exactly one JSON number that jsonb accepts.
pub fn is_number(text: &[u8]) -> bool {
    matches!(text.first(), Some(b'-' | b'0'..=b'9')) && text.trim_ascii_end() == text && is_json(text)
}
