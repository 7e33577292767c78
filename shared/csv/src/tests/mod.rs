//! Tables of cases and properties for the CSV reader, through [`open`](super::open).

mod decoding;
mod delimiters;
mod detection;
mod directive;
mod fallback;
mod header_lines;
mod headers;
mod properties;
mod reading;

use std::io::{self, Read};

use crate::error::{Error, Result};

use super::*;

/// Gives at most `step` bytes a read.
pub(super) struct Dribble<'a> {
    pub bytes: &'a [u8],
    pub step: usize,
}

impl Read for Dribble<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.step.min(into.len()).min(self.bytes.len());
        into[..count].copy_from_slice(&self.bytes[..count]);
        self.bytes = &self.bytes[count..];
        Ok(count)
    }
}

/// A record as an owned value, so that two readings can be compared.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kept {
    Row { position: CsvPosition, raw: String, fields: Vec<String>, repaired: Option<&'static str> },
    Reject(CsvReject),
}

impl Kept {
    /// The fields of a row; the code of a reject.
    pub fn brief(&self) -> Vec<String> {
        match self {
            Kept::Row { fields, .. } => fields.clone(),
            Kept::Reject(reject) => vec![format!("!{}", reject.code)],
        }
    }
}

pub(super) fn keep(record: CsvRecord<'_>) -> Kept {
    match record {
        CsvRecord::Row(row) => Kept::Row {
            position: row.position,
            raw: String::from_utf8_lossy(row.raw).into_owned(),
            fields: row.iter().map(|field| String::from_utf8(field.to_vec()).unwrap()).collect(),
            repaired: row.repaired,
        },
        CsvRecord::Reject(reject) => Kept::Reject(reject),
    }
}

pub(super) fn drain<R: Read>(records: &mut Records<R>) -> Result<Vec<Kept>> {
    let mut kept = Vec::new();
    while let Some(record) = records.next()? {
        kept.push(keep(record));
    }
    Ok(kept)
}

pub(super) fn read_as(
    bytes: &[u8],
    declared: &Declared,
    limits: &CsvLimits,
    ragged: Ragged,
    invalid: InvalidCharacters,
) -> (Plan, Vec<Kept>) {
    let mut opened = open(bytes, declared, limits, ragged, invalid).unwrap();
    let kept = drain(&mut opened.records).unwrap();
    (opened.plan, kept)
}

pub(super) fn read(bytes: &[u8]) -> (Plan, Vec<Kept>) {
    read_as(bytes, &Declared::default(), &CsvLimits::default(), Ragged::Reject, InvalidCharacters::Reject)
}

/// The first error met, at opening or later.
pub(super) fn failure(bytes: impl Read, limits: &CsvLimits) -> Error {
    let opened = open(bytes, &Declared::default(), limits, Ragged::Reject, InvalidCharacters::Reject);
    match opened {
        Err(error) => error,
        Ok(mut opened) => drain(&mut opened.records).unwrap_err(),
    }
}

pub(super) fn briefs(kept: &[Kept]) -> Vec<Vec<String>> {
    kept.iter().map(Kept::brief).collect()
}
