//! CSV: an object's bytes in, rows and rejects out. Pure, streaming and in bounded memory.
//!
//! [`open`](open()) finds compression, encoding and dialect from the first megabyte, or takes what is [`Declared`];
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
mod header_line;
mod labels;
mod limits;
mod line_end;
mod names;
mod note;
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
pub use limits::Limits;
pub use millrace::config::csv::{Header, InvalidCharacters as Invalid, Mark, Ragged};
pub use note::Note;
pub use open::{Decoded, Opened, Plan, open, reopen, resume_offset};
pub use records::Records;
pub use row::{Position, Record, Reject, Row};
