//! The dialect of a file, declared by the user or detected.

use serde::{Deserialize, Serialize};

use crate::options::{DeclaredHeader, Mark};

/// The declarations of a source about its files. A field that is `None` is detected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    /// An encoding's name as the WHATWG standard has it: `utf-8`, `windows-1252`, `utf-16le`, `latin1`.
    pub encoding: Option<String>,
    /// One or more characters.
    pub delimiter: Option<String>,
    pub quote: Option<Mark>,
    /// `Mark::None`: a quote inside quotes is doubled.
    pub escape: Option<Mark>,
    /// Lines that begin with this byte are skipped. `Mark::None`: there are no comments.
    pub comment: Option<Mark>,
    pub header: Option<DeclaredHeader>,
    /// Lines before the header, or before the first row when there is none.
    pub skip_lines: Option<u64>,
}

/// The line end most used in the file. All of `\n`, `\r\n` and `\r` are understood, except in a file with record
/// separators, where newlines belong to the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Terminator {
    Lf,
    CrLf,
    Cr,
    /// The ASCII record separator, `1e`.
    Rs,
}

/// How a file is written. It is stored with a load, so that a resumed load reads the file as its first attempt did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialect {
    /// Empty: every line is one field.
    pub delimiter: String,
    pub quote: Option<u8>,
    /// `None`: a quote inside quotes is doubled.
    pub escape: Option<u8>,
    pub terminator: Terminator,
    pub comment: Option<u8>,
    /// Lines before the header, or before the first row when there is none.
    pub skip_lines: u64,
    pub header_rows: u32,
    /// The column names, each once. A record of this many fields is of the right width.
    pub columns: Vec<String>,
    /// Where the first row begins, in bytes of the decoded text; preamble and header are before it.
    pub data_offset: u64,
    /// The line (from 1) on which the first row begins.
    pub data_line: u64,
}
