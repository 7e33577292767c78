//! From the fields of a record to a row or a reject: widths, limits, characters that cannot be stored, repairs.

use std::io::Read;

use memchr::{memchr, memchr2};

use super::records::{Records, Step};
use super::repair::repair;
use super::split::{Fault, Outcome};
use super::{Invalid, Note, Ragged};

/// So many notes are kept.
const MAX_NOTES: usize = 100;
/// So many rows in a row, all of the same wrong width, are reported as a second table.
const SECOND_TABLE_ROWS: u64 = 3;

/// Consecutive records of one and the same wrong width.
#[derive(Debug, Default)]
pub(super) struct WidthRun {
    width: usize,
    rows: u64,
    line: u64,
}

impl<R: Read> Records<R> {
    /// Whether the record in `fields` has the table's width, one empty field after a trailing delimiter left aside.
    pub(super) fn width_fits(&self) -> bool {
        let width = self.dialect.columns.len();
        let count = self.fields.count;
        count == width || (count == width + 1 && self.last_field_is_empty())
    }

    fn last_field_is_empty(&self) -> bool {
        self.fields.count == self.fields.spans.len()
            && self.fields.spans.last().is_some_and(|span| span.start == span.end)
    }

    /// The row, or why it is none, from the fields of a record that could be split.
    pub(super) fn judge(&mut self, len: usize, with_end: usize, mut repaired: Option<&'static str>) -> Step {
        let width = self.dialect.columns.len();
        if self.fields.count > self.limits.max_columns {
            let reason =
                format!("{} fields, more than the {} allowed", self.fields.count, self.limits.max_columns);
            return Step::Reject {
                len,
                with_end,
                code: "too_many_columns",
                reason: reason.into(),
                column: None,
            };
        }
        if self.fields.count == width + 1 && self.last_field_is_empty() {
            self.fields.spans.pop();
            self.fields.count -= 1;
        }
        let count = self.fields.count;
        self.watch_width(count);
        if count != width && self.ragged == Ragged::Reject {
            let reason = format!("{count} fields where the table has {width} columns");
            return Step::Reject {
                len,
                with_end,
                code: "wrong_column_count",
                reason: reason.into(),
                column: None,
            };
        }
        let raw = &self.buffer[self.begin..self.begin + len];
        if len > self.limits.max_field_bytes {
            let long = self
                .fields
                .spans
                .iter()
                .position(|s| (s.end - s.start) as usize > self.limits.max_field_bytes);
            if let Some(column) = long {
                let reason = format!("a field over {} bytes", self.limits.max_field_bytes);
                let column = Some(column);
                return Step::Reject { len, with_end, code: "field_too_long", reason: reason.into(), column };
            }
        }
        self.replaced.clear();
        // The record as a whole first: nearly every record is sound, and one pass over it is cheaper than many.
        let nul = memchr(0, raw).is_some();
        if nul || std::str::from_utf8(raw).is_err() {
            for index in 0..self.fields.spans.len() {
                let Some(field) = self.fields.get(raw, index) else { continue };
                let nul = memchr(0, field).is_some();
                let invalid = std::str::from_utf8(field).is_err();
                if !nul && !invalid {
                    continue;
                }
                let (code, rule, reason) = if invalid {
                    ("invalid_utf8", "invalid_utf8_replaced", "bytes that are not UTF-8")
                } else {
                    ("nul_character", "nul_replaced", "a NUL character, which PostgreSQL cannot store")
                };
                if self.invalid == Invalid::Reject {
                    let column = Some(index);
                    return Step::Reject { len, with_end, code, reason: reason.into(), column };
                }
                repaired = Some(rule);
                let text = String::from_utf8_lossy(field).replace('\0', "\u{fffd}");
                self.replaced.push((index, text.into_bytes()));
            }
        }
        Step::Row { len, with_end, repaired }
    }

    /// A line that breaks the grammar, or begins a record that crosses lines at the wrong width: its cheapest reading
    /// at the right width, else a reject. `legal` is the extent of that record where the grammar allows it.
    pub(super) fn repair_line(
        &mut self,
        len: usize,
        with_end: usize,
        fault: Fault,
        legal: Option<(usize, usize)>,
    ) -> Step {
        let width = self.dialect.columns.len();
        let line = &self.buffer[self.begin..self.begin + len];
        if let Some(rule) = repair(&self.splitter, line, width, &mut self.fields) {
            return self.judge(len, with_end, Some(rule.name()));
        }
        if let Some((whole, whole_with_end)) = legal
            && !self.swallows_rows(with_end, whole)
        {
            let bytes = &self.buffer[self.begin..self.begin + whole_with_end];
            // Split again: the attempt to repair has overwritten the fields.
            if let Outcome::Complete { .. } = self.splitter.strict(bytes, true, &mut self.fields) {
                return self.judge(whole, whole_with_end, None);
            }
        }
        let (code, reason) = match fault {
            Fault::Unclosed => ("unclosed_quote", "a quote is opened and not closed"),
            Fault::StrayQuote => ("malformed_quotes", "a quote inside an unquoted field"),
            Fault::TextAfterQuote => ("malformed_quotes", "text after a closing quote"),
        };
        Step::Reject { len, with_end, code, reason: reason.into(), column: None }
    }

    /// Whether any line from `from` to the record's end would be a row by itself: then the quotes of the line before
    /// it are more likely broken than that many rows quoted.
    fn swallows_rows(&mut self, from: usize, to: usize) -> bool {
        let width = self.dialect.columns.len();
        let mut at = from;
        while at < to {
            let rest = &self.buffer[self.begin + at..self.begin + to];
            let len = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
            let line = &rest[..len];
            if !line.is_empty()
                && let Outcome::Complete { len: complete, .. } =
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

    /// Reports a second table: several records in a row of one width that is not the table's.
    fn watch_width(&mut self, count: usize) {
        if count == self.dialect.columns.len() {
            self.run = WidthRun::default();
            return;
        }
        if self.run.width != count {
            self.run = WidthRun { width: count, rows: 0, line: self.position.line };
        }
        self.run.rows += 1;
        if self.run.rows == SECOND_TABLE_ROWS && count > 1 && self.notes.len() < MAX_NOTES {
            let text = format!(
                "a second table of {count} columns seems to begin here; this one has {}",
                self.dialect.columns.len()
            );
            self.notes.push(Note { line: self.run.line, text });
        }
    }
}
