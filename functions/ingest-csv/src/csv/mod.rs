//! CSV: an object's bytes in, rows and rejects out. Pure, streaming and in bounded memory.
//!
//! [`open`] finds compression, encoding and dialect from the first megabyte, or takes what is [`Declared`];
//! [`Records`] reads on from there; [`reopen`] goes on where an earlier attempt stopped, by its [`Plan`].
//!
//! # How a file is read
//!
//! | in the file | what happens |
//! | --- | --- |
//! | `\n`, `\r\n`, `\r`, also mixed | each ends a line; within quotes it belongs to the value |
//! | an empty line; a line of blanks (tables of several columns) | left out |
//! | a line that begins with the comment character | left out |
//! | lines above the table (a title, a note, a row less than half as full as the median) | left out, before the first row |
//! | a record that follows the grammar and has the table's width | a row, never altered, also over several lines |
//! | one more field than columns, and that one empty | a row: the delimiter at its end is dropped |
//! | any other number of fields | reject `wrong_column_count`; with [`Ragged::Fill`] a row, with its fields fewer or more |
//! | more fields than [`Limits::max_columns`] | reject `too_many_columns` |
//! | quotes that break the grammar, or a record over several lines of the wrong width | the cheapest reading of that one line at the table's width, marked as repaired (below) |
//! | the same, where no reading has the table's width | reject `unclosed_quote` or `malformed_quotes` of that line; reading goes on with the next line |
//! | a line over [`Limits::max_record_bytes`] | reject `record_too_long`; reading goes on with the next line |
//! | a field over [`Limits::max_field_bytes`] | reject `field_too_long` |
//! | bytes that are not UTF-8 (or not of the file's encoding) | reject `invalid_utf8`; with [`Invalid::Replace`] U+FFFD, repaired by `invalid_utf8_replaced` |
//! | a NUL character | reject `nul_character`; with [`Invalid::Replace`] U+FFFD, repaired by `nul_replaced` |
//! | a second table of another width below the first | its rows are rejects, and a note names its first line |
//!
//! A record over several lines of the wrong width, which no reading of its first line repairs, is one record (a reject or,
//! with `Fill`, a row) unless a line inside it would be a row by itself.
//!
//! | repair | what was done |
//! | --- | --- |
//! | `blanks_around_quotes` | blanks between a delimiter and a quote were left out: `a, "b"` |
//! | `lone_quote` | a quote inside a quoted field that was not doubled was kept: `"5" pipe"` |
//! | `stray_quote` | a quote inside an unquoted field was kept: `5" pipe` |
//! | `unclosed_quote` | a quote that opens a field and is never closed was kept: `"pipe` |
//!
//! # Encodings
//!
//! Without a declaration: a byte order mark decides, then zeros at every other byte (UTF-16), then valid UTF-8, then the
//! statistics of the bytes (Windows-1252 and other legacy encodings). Only the first megabyte is asked: a file that is
//! ASCII there and something else below needs a declaration, or its later rows are rejected as `invalid_utf8`.
//!
//! # Column names
//!
//! Header cells without the blanks and byte order marks around them; several header rows are joined with a space. A
//! column without a name is `column_<n>`; a name that is already taken becomes `name_2`, `name_3`, …
//!
//! # Failures of a whole file
//!
//! Kind `Contract`, with a code: `truncated_gzip`, `corrupt_gzip`, `truncated_zstd`, `corrupt_zstd`, `decompression_bomb`,
//! `not_text`, `too_many_columns`, `header_too_long` and `preamble_too_long` (either over the first megabyte),
//! `object_changed` (a resumed object is no longer compressed as it was). A failed read below is `Transient`, code `read_failed`.

mod choose;
mod decode;
mod detect;
mod dialect;
mod header;
mod names;
mod open;
mod records;
mod repair;
mod row;
mod split;
mod transcode;
mod types;
mod verdict;

#[cfg(test)]
mod tests;

pub use decode::{Compression, DecodeLimits};
pub use detect::detect;
pub use dialect::{Declared, Dialect, Terminator};
pub use millrace::config::csv::{Header, InvalidCharacters as Invalid, Mark, Ragged};
pub use open::{Decoded, Opened, Plan, open, reopen, resume_offset};
pub use records::Records;
pub use row::{Position, Record, Reject, Row};

/// Bounds on what is read. Whatever is over one is rejected, never cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one record without its line end. Default 1 MiB, at most 1 GiB.
    pub max_record_bytes: usize,
    /// Bytes of one field. Default 1 MiB.
    pub max_field_bytes: usize,
    /// Default 1,600.
    pub max_columns: usize,
    /// Bytes of a reject's raw text that are kept. Default 1 MiB.
    pub max_reject_bytes: usize,
    pub decode: DecodeLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_record_bytes: 1 << 20,
            max_field_bytes: 1 << 20,
            max_columns: 1_600,
            max_reject_bytes: 1 << 20,
            decode: DecodeLimits::default(),
        }
    }
}

impl Limits {
    /// The limits within what positions inside a record can express.
    fn bounded(mut self) -> Self {
        self.max_record_bytes = self.max_record_bytes.clamp(1, 1 << 30);
        self.max_columns = self.max_columns.clamp(1, 1 << 20);
        self
    }
}

/// Something about the file that an operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub line: u64,
    pub text: String,
}
