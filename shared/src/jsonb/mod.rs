//! What PostgreSQL's jsonb takes, decided before PostgreSQL sees it: one row it refuses would fail a whole COPY.
//!
//! JSON text is never parsed into values here. It is validated and cut, so that what is stored is what came: numbers of any
//! length, the order of keys, duplicates (of which jsonb keeps the last).
//!
//! - [`scan`]: one pass over a text, which finds where values begin and end, and what jsonb would refuse in them.
//! - [`find`]: where the value that a JSON pointer names stands.
//! - [`replace`]: U+FFFD for the characters that jsonb refuses.
//! - [`write`](mod@write): strings as JSON.

mod find;
mod replace;
mod scan;
mod write;

pub use find::find;
pub use replace::replace_characters;
pub use scan::{Defect, DefectKind, Scanner, SyntaxError, Value};
pub use write::write_string;

/// How deep arrays and objects may nest. jsonb itself stops where the server's stack ends, some thousands deep; most
/// programs that read events back stop earlier.
pub const MAX_DEPTH: usize = 1_000;
/// jsonb writes exponents out: `1e131071`, which it takes, is 131,072 characters when it is read back. No measurement
/// needs more than this.
pub const MAX_EXPONENT: i64 = 400;
/// Decimal digits that numeric holds before and after the point.
pub const MAX_INTEGER_DIGITS: i64 = 131_072;
pub const MAX_FRACTION_DIGITS: i64 = 16_383;

/// Whether `text` is one JSON value that jsonb takes, blanks around it allowed. `text` is UTF-8.
pub fn is_json(text: &[u8]) -> bool {
    let mut scanner = Scanner::new(text);
    matches!(scanner.value(), Ok(value) if value.defect.is_none()) && scanner.end().is_ok()
}

/// Whether `text` is a JSON number that jsonb takes, and nothing else.
pub fn is_number(text: &[u8]) -> bool {
    matches!(text.first(), Some(b'-' | b'0'..=b'9')) && text.trim_ascii_end() == text && is_json(text)
}
