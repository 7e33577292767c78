//! CSV: an object's bytes in, rows and rejects out. Pure, streaming and in bounded memory.
//!
//! [`open`](open()) finds compression, encoding and dialect from the first megabyte, or takes what is [`Declared`];
//! [`Records`] reads on from there; [`reopen`] goes on where an earlier attempt stopped, by its [`Plan`].
//!
//! The rules by which a file is read, its repairs, its rejects and the failures of a whole file are what users know them
//! by: `docs/csv.md` lists them, each with its code.
//!
//! # Layout, in the order of the data
//!
//! - `open`: opens a reader as records. `decode` decompresses, `transcode` converts to UTF-8, `detect` finds the dialect.
//! - `detect`: from `sample`, by `line_end`, `directive`, `candidates`, `types`, `header`, `header_line`, `labels`, `names`.
//! - `records`: the pull reader. `split` cuts a record into fields, `check` decides what it is, `repair` reads a record
//!   that breaks the grammar.
//! - `row`, `dialect`, `options`, `limits`, `note`, `error`: the types of the interface.
//!
//! ```
//! use millrace_csv::{CsvLimits, CsvRecord, Declared, InvalidCharacters, Ragged, open};
//!
//! let file = &b"sep=;\nid;name\n1;\"Smith; Ann\"\n"[..];
//! let mut opened =
//!     open(file, &Declared::default(), &CsvLimits::default(), Ragged::Reject, InvalidCharacters::Reject)?;
//! assert_eq!(opened.records.columns(), ["id", "name"]);
//! while let Some(record) = opened.records.next()? {
//!     match record {
//!         CsvRecord::Row(row) => assert_eq!(row.get(1), Some(&b"Smith; Ann"[..])),
//!         CsvRecord::Reject(reject) => panic!("line {}: {}", reject.position.line, reject.reason),
//!     }
//! }
//! # Ok::<(), millrace_csv::Error>(())
//! ```

mod candidates;
mod check;
mod code;
mod decode;
mod detect;
mod dialect;
mod directive;
mod error;
mod header;
mod header_line;
mod labels;
mod limits;
mod line_end;
mod names;
mod note;
mod open;
mod options;
mod records;
mod repair;
mod row;
mod sample;
mod split;
mod transcode;
mod types;

#[cfg(test)]
mod tests;

pub use code::CsvCode;
pub use decode::{Compression, DecodeLimits};
pub use detect::detect;
pub use dialect::{Declared, Dialect, Terminator};
pub use error::{Error, ErrorKind, Result};
pub use limits::CsvLimits;
pub use note::Note;
pub use open::{Decoded, Opened, Plan, open, reopen, resume_offset};
pub use options::{DeclaredHeader, InvalidCharacters, Mark, Ragged};
pub use records::Records;
pub use row::{CsvPosition, CsvRecord, CsvReject, Row};
