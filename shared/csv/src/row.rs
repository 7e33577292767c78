//! The results of reading: rows, rejects, and their positions.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::code::CsvCode;
use crate::split::Fields;

/// The start of a record. A reader started at this position yields the same records as this reader does from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CsvPosition {
    /// How many records, rows and rejects alike, come before.
    pub record: u64,
    /// The line in the file, from 1.
    pub line: u64,
    /// Bytes of the decoded UTF-8 text before it. For an uncompressed UTF-8 file: the offset in the file, BOM included.
    pub offset: u64,
}

/// One record of the file.
#[derive(Debug)]
pub enum CsvRecord<'a> {
    Row(Row<'a>),
    Reject(CsvReject),
}

/// A record that can be loaded.
#[derive(Debug)]
pub struct Row<'a> {
    pub position: CsvPosition,
    /// The record's bytes as they are in the decoded text, without its line end.
    pub raw: &'a [u8],
    /// The name of the rule that was needed to read it; `None` for a record that follows the grammar.
    pub repaired: Option<&'static str>,
    pub(crate) fields: &'a Fields,
    /// Fields whose bytes were replaced, by index; rarely any.
    pub(crate) replaced: &'a [(usize, Vec<u8>)],
}

impl<'a> Row<'a> {
    /// Number of fields: the number of columns, except with [`Ragged::Fill`](crate::Ragged).
    pub fn len(&self) -> usize {
        self.fields.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.fields.spans.is_empty()
    }

    /// The bytes of a field, valid UTF-8 without NUL; `None` past the last field.
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        if let Some((_, bytes)) = self.replaced.iter().find(|(at, _)| *at == index) {
            return Some(bytes);
        }
        self.fields.get(self.raw, index)
    }

    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

/// A record, or a single line, that cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvReject {
    pub position: CsvPosition,
    /// The column with the defect, if it is known.
    pub column: Option<String>,
    /// A stable code: `docs/csv.md` lists them.
    pub code: CsvCode,
    pub reason: Cow<'static, str>,
    /// The bytes as they are in the decoded text, without the line end, truncated to [`CsvLimits::max_reject_bytes`](crate::CsvLimits).
    pub raw: Vec<u8>,
    /// The number of bytes before truncation.
    pub raw_len: u64,
}
