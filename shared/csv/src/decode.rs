//! Decompresses an object, with limits against decompression bombs.
//!
//! | first bytes | read as | ends with |
//! | --- | --- | --- |
//! | `1f 8b` | gzip, all members; zeros after the last member are padding | `truncated_gzip`, `corrupt_gzip` (a wrong checksum, or anything else behind a member) |
//! | `28 b5 2f fd`, `5? 2a 4d 18` | zstd, all frames | `truncated_zstd`, `corrupt_zstd` |
//! | anything else | as it is | |
//!
//! Over a cap: `decompression_bomb`. These are errors of the kind `File`. A failed read below is of the kind
//! `Read`.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;
use serde::{Deserialize, Serialize};

use crate::code::CsvCode;
use crate::error::{Error, Result};

/// Limits on the decompressed size of a compressed file. Uncompressed files have no such limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Default 10 GiB.
    pub max_decompressed_bytes: u64,
    /// Decompressed bytes for each compressed one, checked past 100 MiB. Default 200.
    pub max_ratio: u64,
    /// The largest zstd window, as a power of two: decoding keeps that much in memory. Default 25 (32 MiB), enough for
    /// `zstd -20`; a file that needs more ends as `corrupt_zstd`.
    pub max_zstd_window_log: u32,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        DecodeLimits { max_decompressed_bytes: 10 << 30, max_ratio: 200, max_zstd_window_log: 25 }
    }
}

const RATIO_JUDGED_PAST: u64 = 100 << 20;
const INPUT_BYTES: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

/// A buffered reader that can look ahead, counts what is consumed, and wraps the errors of the reader below.
struct Input<R> {
    /// `None` once the reader has moved on to the decoder of the next gzip member.
    reader: Option<R>,
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
    consumed: u64,
}

impl<R: Read> Input<R> {
    fn new(reader: R) -> Self {
        Input { reader: Some(reader), buffer: vec![0; INPUT_BYTES], begin: 0, end: 0, consumed: 0 }
    }

    /// Moves everything into another `Input`; this one is empty from then on.
    fn take(&mut self) -> Self {
        let empty = Input { reader: None, buffer: Vec::new(), begin: 0, end: 0, consumed: 0 };
        std::mem::replace(self, empty)
    }

    /// The next bytes, at least `count` of them unless the input ends before.
    fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        while self.end - self.begin < count {
            if self.begin > 0 {
                self.buffer.copy_within(self.begin..self.end, 0);
                self.end -= self.begin;
                self.begin = 0;
            }
            let Some(reader) = &mut self.reader else { break };
            match reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => break,
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io::Error::other(Error::from(error))),
            }
        }
        Ok(&self.buffer[self.begin..self.end])
    }
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.len().min(into.len());
        into[..count].copy_from_slice(&self.buffer[self.begin..self.begin + count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for Input<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.peek(1)
    }

    fn consume(&mut self, count: usize) {
        let count = count.min(self.end - self.begin);
        self.begin += count;
        self.consumed += count as u64;
    }
}

enum Format<R: Read> {
    Plain(Input<R>),
    Gzip(Box<GzDecoder<Input<R>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Input<R>>>),
}

/// Decompressed bytes of an object.
pub struct Decompressed<R: Read> {
    format: Format<R>,
    limits: DecodeLimits,
    produced: u64,
    done: bool,
}

impl<R: Read> Decompressed<R> {
    pub fn new(reader: R, limits: &DecodeLimits) -> Result<Self> {
        let mut input = Input::new(reader);
        let format = match input.peek(4)? {
            [0x1f, 0x8b, ..] => Format::Gzip(Box::new(GzDecoder::new(input))),
            [0x28, 0xb5, 0x2f, 0xfd] | [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(limits.max_zstd_window_log)?;
                Format::Zstd(Box::new(decoder))
            }
            _ => Format::Plain(input),
        };
        Ok(Decompressed { format, limits: *limits, produced: 0, done: false })
    }

    /// The bytes unchanged, whatever they begin with.
    pub fn plain(reader: R) -> Self {
        let format = Format::Plain(Input::new(reader));
        Decompressed { format, limits: DecodeLimits::default(), produced: 0, done: false }
    }

    pub fn compression(&self) -> Compression {
        match self.format {
            Format::Plain(_) => Compression::None,
            Format::Gzip(_) => Compression::Gzip,
            Format::Zstd(_) => Compression::Zstd,
        }
    }

    /// Bytes of the object that were used so far, as they are stored.
    pub fn consumed(&self) -> u64 {
        match &self.format {
            Format::Plain(input) => input.consumed,
            Format::Gzip(decoder) => decoder.get_ref().consumed,
            Format::Zstd(decoder) => decoder.get_ref().consumed,
        }
    }

    fn check_caps(&self) -> io::Result<()> {
        let limits = &self.limits;
        if self.produced > limits.max_decompressed_bytes {
            let message = format!("decompress the object: over {} bytes", limits.max_decompressed_bytes);
            return Err(io::Error::other(Error::file(CsvCode::DecompressionBomb, message)));
        }
        if self.produced > RATIO_JUDGED_PAST && self.produced / self.consumed().max(1) > limits.max_ratio {
            let message = format!("decompress the object: over {} times its size", limits.max_ratio);
            return Err(io::Error::other(Error::file(CsvCode::DecompressionBomb, message)));
        }
        Ok(())
    }

    /// After a gzip member: true when another one follows.
    fn next_member(&mut self) -> io::Result<bool> {
        let Format::Gzip(decoder) = &mut self.format else { return Ok(false) };
        let input = decoder.get_mut();
        if input.peek(2)?.starts_with(&[0x1f, 0x8b]) {
            return Ok(true);
        }
        loop {
            let rest = input.peek(1)?;
            if rest.is_empty() {
                return Ok(false);
            }
            if rest.iter().any(|byte| *byte != 0) {
                let message = "decompress the object: bytes that are not gzip follow a gzip member";
                return Err(io::Error::other(Error::file(CsvCode::CorruptGzip, message)));
            }
            let count = rest.len();
            input.consume(count);
        }
    }
}

/// The decoder's own error about the bytes, or the error from the reader below it.
fn broken(error: io::Error, truncated: CsvCode, corrupt: CsvCode) -> io::Error {
    if error.get_ref().is_some_and(|inner| inner.is::<Error>()) {
        return error;
    }
    let code = if error.kind() == io::ErrorKind::UnexpectedEof { truncated } else { corrupt };
    io::Error::other(Error::file(code, "decompress the object").with_source(error))
}

impl<R: Read> Read for Decompressed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.done || into.is_empty() {
            return Ok(0);
        }
        loop {
            let count = match &mut self.format {
                Format::Plain(input) => return input.read(into),
                Format::Gzip(decoder) => decoder
                    .read(into)
                    .map_err(|error| broken(error, CsvCode::TruncatedGzip, CsvCode::CorruptGzip))?,
                Format::Zstd(decoder) => decoder
                    .read(into)
                    .map_err(|error| broken(error, CsvCode::TruncatedZstd, CsvCode::CorruptZstd))?,
            };
            self.produced += count as u64;
            self.check_caps()?;
            if count > 0 {
                return Ok(count);
            }
            if !self.next_member()? {
                self.done = true;
                return Ok(0);
            }
            if let Format::Gzip(decoder) = &mut self.format {
                let input = decoder.get_mut().take();
                **decoder = GzDecoder::new(input);
            }
        }
    }
}
