//! Opens a reader as records: decompresses, decodes and detects. The bytes read for detection are part of the records.

use std::io::{self, Read};

use encoding_rs::{UTF_8, WINDOWS_1252};
use serde::{Deserialize, Serialize};

use crate::code::CsvCode;
use crate::decode::{Compression, Decompressed};
use crate::detect::detect;
use crate::dialect::{Declared, Dialect};
use crate::error::{Error, Result};
use crate::limits::CsvLimits;
use crate::options::{InvalidCharacters, Ragged};
use crate::records::Records;
use crate::row::CsvPosition;
use crate::transcode::{self, Transcoder};

/// The number of bytes from which encoding and dialect are detected.
const SAMPLE_BYTES: usize = 1 << 20;

/// How to read a file: what the first attempt found, stored with the load and used by every later attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub compression: Compression,
    /// An encoding's name as the WHATWG standard has it.
    pub encoding: String,
    /// The encoding of records that are not of `encoding`: `windows-1252`, where `encoding` was detected as UTF-8 from a
    /// sample that is ASCII and not the whole file. `None`, as in a plan stored before the field was: they are rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_encoding: Option<String>,
    pub dialect: Dialect,
}

impl Plan {
    /// Whether records that are not UTF-8 are read as Windows-1252.
    pub fn falls_back_to_windows_1252(&self) -> bool {
        self.fallback_encoding.as_deref() == Some(WINDOWS_1252.name())
    }

    /// Whether a position's offset is also an offset in the stored object.
    pub fn is_seekable(&self) -> bool {
        self.compression == Compression::None && self.encoding == UTF_8.name()
    }
}

/// An opened file.
pub struct Opened<R: Read> {
    pub plan: Plan,
    pub records: Records<Decoded<R>>,
}

/// A reader that yields the bytes already read, then the rest of the input.
struct Prefixed<R> {
    head: Vec<u8>,
    given: usize,
    reader: R,
}

impl<R: Read> Read for Prefixed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.given < self.head.len() {
            let count = into.len().min(self.head.len() - self.given);
            into[..count].copy_from_slice(&self.head[self.given..self.given + count]);
            self.given += count;
            if self.given == self.head.len() {
                // The sample is a megabyte: free it as soon as it has been read.
                self.head = Vec::new();
                self.given = 0;
            }
            return Ok(count);
        }
        self.reader.read(into)
    }
}

/// The decoded text of an object: decompressed, as UTF-8.
pub struct Decoded<R: Read>(Prefixed<Transcoder<Prefixed<Decompressed<R>>>>);

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

/// Reads up to `SAMPLE_BYTES`; true when the input ends with them.
fn sample(reader: &mut impl Read) -> Result<(Vec<u8>, bool)> {
    let mut bytes = Vec::new();
    let count = reader.take(SAMPLE_BYTES as u64).read_to_end(&mut bytes)?;
    Ok((bytes, count < SAMPLE_BYTES))
}

/// Opens an object from its first byte on. Reads the sample immediately; the records include what was read for it.
pub fn open<R: Read>(
    reader: R,
    declared: &Declared,
    limits: &CsvLimits,
    ragged: Ragged,
    invalid: InvalidCharacters,
) -> Result<Opened<R>> {
    let mut decompressed = Decompressed::new(reader, &limits.decode)?;
    let compression = decompressed.compression();
    let (head, whole) = sample(&mut decompressed)?;
    let encoding = transcode::detect(&head, whole, declared.encoding.as_deref())?;
    let may_fall_back = declared.encoding.is_none() && encoding == UTF_8 && !whole && head.is_ascii();
    let mut transcoder = Transcoder::new(Prefixed { head, given: 0, reader: decompressed }, encoding);
    let (head, whole) = sample(&mut transcoder)?;
    let dialect = detect(&head, whole, declared, limits)?;
    let mut decoded = Decoded(Prefixed { head, given: 0, reader: transcoder });
    discard(&mut decoded, dialect.data_offset)?;
    let start = dialect.start();
    let plan = Plan {
        compression,
        encoding: encoding.name().to_owned(),
        fallback_encoding: may_fall_back.then(|| WINDOWS_1252.name().to_owned()),
        dialect: dialect.clone(),
    };
    let records = Records::new(decoded, dialect, *limits, ragged, invalid, start)
        .with_windows_1252(plan.falls_back_to_windows_1252());
    Ok(Opened { plan, records })
}

/// The byte of the stored object from which [`reopen`] needs its reader to begin.
pub fn resume_offset(plan: &Plan, position: CsvPosition) -> u64 {
    if plan.is_seekable() { position.offset } else { 0 }
}

/// Opens an object again to read on from `position`. `reader` begins at [`resume_offset`].
pub fn reopen<R: Read>(
    reader: R,
    plan: &Plan,
    limits: &CsvLimits,
    ragged: Ragged,
    invalid: InvalidCharacters,
    position: CsvPosition,
) -> Result<Records<Decoded<R>>> {
    let none = |reader| Prefixed { head: Vec::new(), given: 0, reader };
    let encoding = transcode::named(&plan.encoding)?;
    let decompressed = match plan.compression {
        // A range in the middle of a plain file may begin like a compressed one.
        Compression::None => Decompressed::plain(reader),
        Compression::Gzip | Compression::Zstd => Decompressed::new(reader, &limits.decode)?,
    };
    if decompressed.compression() != plan.compression {
        let message = "read on: the object is not compressed as it was on the first attempt";
        return Err(Error::file(CsvCode::ObjectChanged, message));
    }
    let transcoder = Transcoder::new(none(decompressed), encoding);
    let mut decoded = Decoded(Prefixed { head: Vec::new(), given: 0, reader: transcoder });
    if !plan.is_seekable() {
        discard(&mut decoded, position.offset)?;
    }
    Ok(Records::new(decoded, plan.dialect.clone(), *limits, ragged, invalid, position)
        .with_windows_1252(plan.falls_back_to_windows_1252()))
}

/// Reads and discards `count` bytes, or all that remain.
fn discard(reader: &mut impl Read, count: u64) -> Result<()> {
    io::copy(&mut reader.take(count), &mut io::sink())?;
    Ok(())
}
