//! What PostgreSQL's jsonb takes, decided before PostgreSQL sees it: one row it refuses would fail a whole COPY.
//!
//! JSON text is never parsed into values here. It is validated and cut, so that what is stored is what came: numbers of any
//! length, the order of keys, duplicates (of which jsonb keeps the last).
//!
//! - [`scan`]: one pass over a text, which finds where values begin and end, and what jsonb would refuse in them.
//! - [`pointer`](mod@pointer): JSON pointers. [`find`](mod@find): finds the value that a pointer names.
//! - [`invalid_characters`]: whether a record with characters that jsonb refuses is rejected or repaired.
//! - [`replace`]: U+FFFD for these characters.
//! - [`write`](mod@write): strings as JSON.

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
pub use pointer::Pointer;
pub use replace::replace_characters;
pub use scan::{Defect, DefectKind, Scanner, SyntaxError, Value};
pub use write::write_string;

/// Whether `text` is one JSON value that jsonb takes, blanks around it allowed. `text` is UTF-8.
pub fn is_json(text: &[u8]) -> bool {
    let mut scanner = Scanner::new(text);
    matches!(scanner.value(), Ok(value) if value.defect.is_none()) && scanner.end().is_ok()
}

/// Whether `text` is a JSON number that jsonb takes, and nothing else.
pub fn is_number(text: &[u8]) -> bool {
    matches!(text.first(), Some(b'-' | b'0'..=b'9')) && text.trim_ascii_end() == text && is_json(text)
}
