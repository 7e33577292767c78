//! The pull reader: decoded bytes in, rows and rejects out, in bounded memory, one record at a time.

use std::io::{self, Read};

use memchr::memchr;

use crate::check::{Checked, RecordCheck, RecordExtent};
use crate::code::CsvCode;
use crate::dialect::Dialect;
use crate::error::{Error, Result};
use crate::limits::CsvLimits;
use crate::line_end::LineEnd;
use crate::note::Note;
use crate::options::{InvalidCharacters, Ragged};
use crate::row::{CsvPosition, CsvRecord, CsvReject, Row};
use crate::split::{QuoteDefect, SplitOutcome};

/// The buffer's first size and the least it asks its reader for.
const READ_BYTES: usize = 64 * 1024;

/// A pull reader over decoded bytes. See [the crate](crate) for the rules it follows.
pub struct Records<R> {
    reader: R,
    check: RecordCheck,
    /// Bytes read and not yet consumed: `buffer[begin..end]`; `buffer[begin]` is at `position.offset`.
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
    last: bool,
    failed: bool,
    position: CsvPosition,
}

/// The kind of the bytes at the current position.
enum ReadStep {
    LeftOut,
    Record(Checked),
    TooLong,
    End,
}

impl<R: Read> Records<R> {
    /// `reader` yields the decoded text from `start.offset` on. `start` is [`Dialect::start`], or a
    /// value of [`Records::position`].
    pub fn new(
        reader: R,
        dialect: Dialect,
        limits: CsvLimits,
        ragged: Ragged,
        invalid: InvalidCharacters,
        start: CsvPosition,
    ) -> Self {
        Records {
            reader,
            check: RecordCheck::new(dialect, limits.bounded(), ragged, invalid),
            buffer: vec![0; READ_BYTES],
            begin: 0,
            end: 0,
            last: false,
            failed: false,
            position: start,
        }
    }

    /// Reads records that are not UTF-8 as Windows-1252, as [`Plan::fallback_encoding`](crate::Plan) says.
    #[must_use]
    pub fn with_windows_1252(mut self, is_fallback: bool) -> Self {
        self.check.windows_1252 = is_fallback;
        self
    }

    /// The position of the next record. Before the first call to [`Records::next`], it is the start position.
    pub fn position(&self) -> CsvPosition {
        self.position
    }

    /// The column names, as in the dialect.
    pub fn columns(&self) -> &[String] {
        &self.check.dialect.columns
    }

    /// The notes about the file as a whole, for its operator.
    pub fn notes(&self) -> &[Note] {
        &self.check.notes
    }

    /// The next row or reject; `None` at the end. After an error the reader only fails.
    #[expect(
        clippy::should_implement_trait,
        reason = "a record borrows from the reader, which no Iterator can say"
    )]
    pub fn next(&mut self) -> Result<Option<CsvRecord<'_>>> {
        loop {
            let step = self.step()?;
            let start = self.position;
            match step {
                ReadStep::End => return Ok(None),
                ReadStep::LeftOut => {}
                ReadStep::TooLong => {
                    return self.reject_too_long().map(|reject| Some(CsvRecord::Reject(reject)));
                }
                ReadStep::Record(Checked::Reject {
                    extent: RecordExtent { len, with_end },
                    code,
                    reason,
                    column,
                }) => {
                    let raw = &self.buffer[self.begin..self.begin + len];
                    let raw = raw[..len.min(self.check.limits.max_reject_bytes)].to_vec();
                    let column = column.and_then(|index| self.columns().get(index).cloned());
                    self.consume(with_end, true);
                    let raw_len = len as u64;
                    let reject = CsvReject { position: start, column, code, reason, raw, raw_len };
                    return Ok(Some(CsvRecord::Reject(reject)));
                }
                ReadStep::Record(Checked::Row { extent: RecordExtent { len, with_end }, repaired }) => {
                    let begin = self.begin;
                    self.consume(with_end, true);
                    return Ok(Some(CsvRecord::Row(Row {
                        position: start,
                        raw: &self.buffer[begin..begin + len],
                        repaired,
                        fields: &self.check.fields,
                        replaced: &self.check.replaced,
                    })));
                }
            }
        }
    }

    /// Passes over the next `count` records; returns how many there were.
    pub fn skip(&mut self, count: u64) -> Result<u64> {
        let mut skipped = 0;
        while skipped < count && self.next()?.is_some() {
            skipped += 1;
        }
        Ok(skipped)
    }

    /// Appends bytes to the buffer; false at the end of the input.
    fn fill(&mut self) -> Result<bool> {
        if self.failed {
            return Err(Error::read(io::Error::other("an earlier read failed")));
        }
        if self.last {
            return Ok(false);
        }
        if self.begin > 0 {
            self.buffer.copy_within(self.begin..self.end, 0);
            self.end -= self.begin;
            self.begin = 0;
        }
        if self.buffer.len() - self.end < READ_BYTES / 2 {
            let size = self.buffer.len() * 2;
            self.buffer.resize(size, 0);
        }
        loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.last = true;
                    return Ok(false);
                }
                Ok(count) => {
                    self.end += count;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed = true;
                    return Err(error.into());
                }
            }
        }
    }

    /// Fills the buffer until it contains `wanted` bytes or the input ends.
    fn fill_to(&mut self, wanted: usize) -> Result<()> {
        while self.end - self.begin < wanted && self.fill()? {}
        Ok(())
    }

    fn data(&self) -> &[u8] {
        &self.buffer[self.begin..self.end]
    }

    /// Moves past `count` bytes that hold whole lines; `record`: they are a record.
    fn consume(&mut self, count: usize, record: bool) {
        self.position.line += self.check.line_ends().count(&self.data()[..count]);
        self.position.offset += count as u64;
        self.position.record += u64::from(record);
        self.begin += count;
    }

    /// The first physical line: its bytes without and with its end. `None` when it is longer than a record may be.
    fn line(&mut self) -> Result<Option<(usize, usize)>> {
        let line_ends = self.check.line_ends();
        let mut searched = 0;
        loop {
            let found = line_ends.find(&self.data()[searched..]);
            let len = found.map_or(self.data().len(), |at| searched + at);
            if len > self.check.limits.max_record_bytes {
                return Ok(None);
            }
            if found.is_some() {
                match line_ends.at(&self.data()[len..], self.last) {
                    LineEnd::Some(end) => return Ok(Some((len, len + end))),
                    _ => searched = len,
                }
            } else {
                if self.last {
                    return Ok(Some((len, len)));
                }
                searched = len;
            }
            self.fill()?;
        }
    }

    fn step(&mut self) -> Result<ReadStep> {
        if self.begin == self.end && !self.fill()? {
            return Ok(ReadStep::End);
        }
        let Some((len, with_end)) = self.line()? else { return Ok(ReadStep::TooLong) };
        let line = &self.buffer[self.begin..self.begin + len];
        if self.is_left_out(line) {
            self.consume(with_end, false);
            return Ok(ReadStep::LeftOut);
        }
        let number = self.position.line;
        let extent = RecordExtent { len, with_end };
        let is_quoted = self.check.dialect.quote.is_some_and(|quote| memchr(quote, line).is_some());
        if !is_quoted {
            self.check.splitter.plain(line, &mut self.check.fields);
            return Ok(ReadStep::Record(self.check.check(line, number, extent, None)));
        }
        let strict = self.strict(with_end)?;
        let bytes = &self.buffer[self.begin..self.end];
        Ok(ReadStep::Record(match strict {
            Ok(whole) if whole.with_end == with_end || self.check.width_fits() => {
                self.check.check(&bytes[..whole.len], number, whole, None)
            }
            Ok(whole) => self.check.repair_line(bytes, number, extent, QuoteDefect::Unclosed, Some(whole)),
            Err(defect) => self.check.repair_line(bytes, number, extent, defect, None),
        }))
    }

    /// Blank lines and comments hold no record.
    fn is_left_out(&self, line: &[u8]) -> bool {
        let Some(first) = line.first() else { return true };
        if Some(*first) == self.check.dialect.comment {
            return true;
        }
        // In a table of one column a line of blanks is a legal record.
        self.columns().len() != 1
            && !self.check.splitter.splits_blanks()
            && self.check.line_ends().is_blank(line)
    }

    /// Splits the record at the current position by the grammar, whatever the number of lines it spans.
    fn strict(&mut self, line_with_end: usize) -> Result<Result<RecordExtent, QuoteDefect>> {
        // The outcome for a record must not depend on how much happens to be in the buffer.
        let max = self.check.limits.max_record_bytes;
        let mut wanted = line_with_end;
        loop {
            let here = self.end - self.begin;
            let seen = here.min(max + 2);
            let last = self.last && seen == here;
            let bytes = &self.buffer[self.begin..self.begin + seen];
            match self.check.splitter.strict(bytes, last, &mut self.check.fields) {
                SplitOutcome::Complete { len, .. } if len > max => return Ok(Err(QuoteDefect::Unclosed)),
                SplitOutcome::Complete { len, with_end } => return Ok(Ok(RecordExtent { len, with_end })),
                SplitOutcome::Defect(defect) => return Ok(Err(defect)),
                SplitOutcome::NeedMore if seen == max + 2 => return Ok(Err(QuoteDefect::Unclosed)),
                SplitOutcome::NeedMore => {
                    // Doubling keeps the work linear in the record's length however small the reads are.
                    wanted = wanted.max(here + 1).max(here * 2).min(max + 2);
                    self.fill_to(wanted)?;
                }
            }
        }
    }

    /// Passes over a line that is longer than a record may be, keeping its beginning.
    fn reject_too_long(&mut self) -> Result<CsvReject> {
        let start = self.position;
        let kept_len = self.check.limits.max_reject_bytes.min(self.check.limits.max_record_bytes);
        let kept = self.data()[..kept_len.min(self.end - self.begin)].to_vec();
        let line_ends = self.check.line_ends();
        let mut raw_len = 0u64;
        loop {
            let found = line_ends.find(self.data());
            let count = found.unwrap_or(self.data().len());
            raw_len += count as u64;
            self.position.offset += count as u64;
            self.begin += count;
            if found.is_some() {
                break;
            }
            if !self.fill()? {
                break;
            }
        }
        self.fill_to(3)?;
        if let LineEnd::Some(end) = line_ends.at(self.data(), true) {
            self.consume(end, false);
        }
        self.position.record += 1;
        Ok(CsvReject {
            position: start,
            column: None,
            code: CsvCode::RecordTooLong,
            reason: format!("a line over {} bytes", self.check.limits.max_record_bytes).into(),
            raw: kept,
            raw_len,
        })
    }
}
