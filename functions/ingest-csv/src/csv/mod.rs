//! CSV: an object's bytes in, rows and rejects out. Pure, streaming and in bounded memory.
//!
//! [`open`] finds compression, encoding and dialect from the first megabyte, or takes what is [`Declared`];
//! [`Records`] reads on from there; [`reopen`] goes on where an earlier attempt stopped, by its [`Plan`].
//!
//! The rules by which a file is read, its repairs, its rejects and the failures of a whole file are what users know them
//! by: `docs/csv.md` lists them, each with its code.
//!
//! Failures of a file are of kind `Contract`; `object_changed` is one more: a resumed object is no longer compressed as
//! it was. A failed read below is `Transient`, code `read_failed`.

mod candidates;
mod check;
mod decode;
mod detect;
mod dialect;
mod directive;
mod header;
mod labels;
mod line_end;
mod names;
mod open;
mod records;
mod repair;
mod row;
mod sample;
mod split;
mod transcode;
mod types;

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
