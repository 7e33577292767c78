//! Converts the fields of a record to a row or a reject: widths, limits, characters that cannot be stored, repairs.

use std::borrow::Cow;

use encoding_rs::WINDOWS_1252;
use memchr::memchr;

use crate::code::CsvCode;
use crate::dialect::Dialect;
use crate::limits::CsvLimits;
use crate::line_end::LineEnds;
use crate::note::Note;
use crate::options::{InvalidCharacters, Ragged};
use crate::repair::repair;
use crate::split::{Fields, QuoteDefect, RecordSplitter, SplitOutcome};

/// The maximum number of notes kept.
const MAX_NOTES: usize = 100;
/// This many consecutive rows of the same wrong width are reported as a second table.
const SECOND_TABLE_ROWS: u64 = 3;

/// Consecutive records of one and the same wrong width.
#[derive(Debug, Default)]
struct WidthRun {
    width: usize,
    rows: u64,
    line: u64,
}

/// The bytes of a record, without and with its line end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordExtent {
    pub len: usize,
    pub with_end: usize,
}

/// The outcome of the check of one record.
pub(crate) enum Checked {
    /// A row; its fields are in [`RecordCheck::fields`].
    Row {
        extent: RecordExtent,
        repaired: Option<&'static str>,
    },
    Reject {
        extent: RecordExtent,
        code: CsvCode,
        reason: Cow<'static, str>,
        column: Option<usize>,
    },
}

/// Checks each record against the table.
pub(crate) struct RecordCheck {
    pub splitter: RecordSplitter,
    pub dialect: Dialect,
    pub limits: CsvLimits,
    ragged: Ragged,
    invalid: InvalidCharacters,
    /// A record that is not UTF-8 is read as Windows-1252.
    pub windows_1252: bool,
    pub fields: Fields,
    /// Fields whose bytes were replaced, by index.
    pub replaced: Vec<(usize, Vec<u8>)>,
    pub notes: Vec<Note>,
    run: WidthRun,
}

impl RecordCheck {
    pub fn new(dialect: Dialect, limits: CsvLimits, ragged: Ragged, invalid: InvalidCharacters) -> Self {
        RecordCheck {
            // One field more than allowed is kept, so that a record over the limit is seen to be.
            splitter: RecordSplitter::of(&dialect, limits.max_columns + 1),
            dialect,
            limits,
            ragged,
            invalid,
            windows_1252: false,
            fields: Fields::default(),
            replaced: Vec::new(),
            notes: Vec::new(),
            run: WidthRun::default(),
        }
    }

    pub fn line_ends(&self) -> LineEnds {
        self.splitter.line_ends
    }

    /// Whether the record in `fields` has the table's width, one empty field after a trailing delimiter left aside.
    pub fn width_fits(&self) -> bool {
        let width = self.dialect.columns.len();
        let count = self.fields.count;
        count == width || (count == width + 1 && self.last_field_is_empty())
    }

    fn last_field_is_empty(&self) -> bool {
        self.fields.count == self.fields.spans.len()
            && self.fields.spans.last().is_some_and(|span| span.start == span.end)
    }

    /// The row, or why it is none, from the fields of a record that could be split. `record` is without its line end.
    #[inline]
    pub fn check(
        &mut self,
        record: &[u8],
        line: u64,
        extent: RecordExtent,
        mut repaired: Option<&'static str>,
    ) -> Checked {
        let reject =
            |code, reason: Cow<'static, str>, column| Checked::Reject { extent, code, reason, column };
        let width = self.dialect.columns.len();
        if self.fields.count > self.limits.max_columns {
            let reason =
                format!("{} fields, more than the {} allowed", self.fields.count, self.limits.max_columns);
            return reject(CsvCode::TooManyColumns, reason.into(), None);
        }
        if self.fields.count == width + 1 && self.last_field_is_empty() {
            self.fields.spans.pop();
            self.fields.count -= 1;
        }
        let count = self.fields.count;
        self.watch_width(count, line);
        if count != width && self.ragged == Ragged::Reject {
            let reason = format!("{count} fields where the table has {width} columns");
            return reject(CsvCode::WrongColumnCount, reason.into(), None);
        }
        let max = self.limits.max_field_bytes;
        if record.len() > max
            && let Some(long) = self.fields.spans.iter().position(|s| (s.end - s.start) as usize > max)
        {
            return reject(CsvCode::FieldTooLong, format!("a field over {max} bytes").into(), Some(long));
        }
        self.replaced.clear();
        // The record as a whole first: nearly every record is valid, and one pass over it is cheaper than many.
        let is_utf8 = std::str::from_utf8(record).is_ok();
        if is_utf8 && memchr(0, record).is_none() {
            return Checked::Row { extent, repaired };
        }
        let from_windows_1252 = !is_utf8 && self.windows_1252 && has_only_windows_1252(record);
        if from_windows_1252 {
            repaired = Some("windows_1252");
        }
        for index in 0..self.fields.spans.len() {
            let Some(field) = self.fields.get(record, index) else { continue };
            let has_nul = memchr(0, field).is_some();
            let is_valid = from_windows_1252 || std::str::from_utf8(field).is_ok();
            if (!has_nul || self.invalid == InvalidCharacters::Replace)
                && from_windows_1252
                && !field.is_ascii()
            {
                let (text, _) = WINDOWS_1252.decode_without_bom_handling(field);
                self.replaced.push((index, text.replace('\0', "\u{fffd}").into_bytes()));
                continue;
            }
            if !has_nul && is_valid {
                continue;
            }
            let (code, rule, reason) = if is_valid {
                (CsvCode::NulCharacter, "nul_replaced", "a NUL character, which PostgreSQL cannot store")
            } else {
                (CsvCode::InvalidUtf8, "invalid_utf8_replaced", "bytes that are not UTF-8")
            };
            if self.invalid == InvalidCharacters::Reject {
                return reject(code, reason.into(), Some(index));
            }
            repaired = Some(rule);
            let text = String::from_utf8_lossy(field).replace('\0', "\u{fffd}");
            self.replaced.push((index, text.into_bytes()));
        }
        Checked::Row { extent, repaired }
    }

    /// A line that breaks the grammar, or begins a record that crosses lines at the wrong width: its cheapest reading
    /// at the right width, else a reject. `bytes` holds the line and all of `whole`, the extent of that record where the
    /// grammar allows it.
    pub fn repair_line(
        &mut self,
        bytes: &[u8],
        line: u64,
        extent: RecordExtent,
        defect: QuoteDefect,
        whole: Option<RecordExtent>,
    ) -> Checked {
        let width = self.dialect.columns.len();
        let first_line = &bytes[..extent.len];
        if let Some(rule) = repair(&self.splitter, first_line, width, &mut self.fields) {
            return self.check(first_line, line, extent, Some(rule.name()));
        }
        if let Some(whole) = whole
            && !self.swallows_rows(&bytes[extent.with_end..whole.len])
        {
            // Split again: the attempt to repair has overwritten the fields.
            if let SplitOutcome::Complete { .. } =
                self.splitter.strict(&bytes[..whole.with_end], true, &mut self.fields)
            {
                return self.check(&bytes[..whole.len], line, whole, None);
            }
        }
        let (code, reason) = match defect {
            QuoteDefect::Unclosed => (CsvCode::UnclosedQuote, "a quote is opened and not closed"),
            QuoteDefect::StrayQuote => (CsvCode::MalformedQuotes, "a quote inside an unquoted field"),
            QuoteDefect::TextAfterQuote => (CsvCode::MalformedQuotes, "text after a closing quote"),
        };
        Checked::Reject { extent, code, reason: reason.into(), column: None }
    }

    /// Whether any of the lines in `bytes` would be a row by itself: then the quotes of the line before them are more
    /// likely broken than that many rows quoted.
    fn swallows_rows(&mut self, bytes: &[u8]) -> bool {
        let width = self.dialect.columns.len();
        let line_ends = self.line_ends();
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let len = line_ends.find(rest).unwrap_or(rest.len());
            let line = &rest[..len];
            if !line.is_empty()
                && let SplitOutcome::Complete { len: complete, .. } =
                    self.splitter.strict(line, true, &mut self.fields)
                && complete == line.len()
                && self.fields.count == width
            {
                return true;
            }
            at += len + 1;
        }
        false
    }

    /// Reports a second table: several consecutive records of one width that is not the table's.
    fn watch_width(&mut self, count: usize, line: u64) {
        let width = self.dialect.columns.len();
        if count == width {
            self.run = WidthRun::default();
            return;
        }
        if self.run.width != count {
            self.run = WidthRun { width: count, rows: 0, line };
        }
        self.run.rows += 1;
        if self.run.rows == SECOND_TABLE_ROWS && count > 1 && self.notes.len() < MAX_NOTES {
            let text = format!("a second table of {count} columns seems to begin here; this one has {width}");
            self.notes.push(Note { line: self.run.line, text });
        }
    }
}

/// Whether Windows-1252 has a character for every byte. A record with any other byte is damaged, or in another encoding.
fn has_only_windows_1252(record: &[u8]) -> bool {
    !record.iter().any(|byte| matches!(byte, 0x81 | 0x8d | 0x8f | 0x90 | 0x9d))
}
