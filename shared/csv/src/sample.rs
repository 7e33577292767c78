//! The records of a file's first bytes for detection. They are split without a known width.

use crate::line_end::{LineEnd, LineEnds};
use crate::repair::repair;
use crate::split::{Fields, RecordSplitter, SplitOutcome};

/// The number of records that are used to score a candidate.
pub(crate) const SCORED_ROWS: usize = 2_000;
/// Defective records that are given the table's width.
const REPAIRED_ROWS: usize = 50;

/// One record of the sample.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SampleRecord {
    pub offset: usize,
    pub line: u64,
    pub len: usize,
    pub width: usize,
    /// The number of cells that are not empty.
    pub filled: usize,
    /// It breaks the grammar: the width is a guess from its first line.
    pub defective: bool,
}

/// The sample up to its last line end; all of it when there is none.
pub(crate) fn whole_lines(sample: &[u8], line_ends: LineEnds) -> &[u8] {
    // A \r at the very end may be half of a line end.
    let head = &sample[..sample.len().saturating_sub(1)];
    match line_ends.find_last(head) {
        Some(at) if line_ends.at(&sample[at..], true) != LineEnd::None => &sample[..at + 1],
        _ => sample,
    }
}

/// Splits the text from `offset` on into records, as the reader does without a known width.
pub(crate) fn scan(
    text: &[u8],
    mut offset: usize,
    mut line: u64,
    splitter: &RecordSplitter,
    comment: Option<u8>,
    max: usize,
) -> Vec<SampleRecord> {
    let line_ends = splitter.line_ends;
    let mut rows = Vec::new();
    let mut fields = Fields::default();
    while offset < text.len() && rows.len() < max {
        let rest = &text[offset..];
        let line_len = line_ends.find(rest).unwrap_or(rest.len());
        let line_end = match line_ends.at(&rest[line_len..], true) {
            LineEnd::Some(end) => line_len + end,
            _ => line_len,
        };
        let first_line = &rest[..line_len];
        let blank = line_ends.is_blank(first_line) && !splitter.splits_blanks();
        if first_line.is_empty() || blank || (comment.is_some() && first_line.first().copied() == comment) {
            offset += line_end;
            line += 1;
            continue;
        }
        let (len, with_end, defective) = match splitter.strict(rest, true, &mut fields) {
            SplitOutcome::Complete { len, with_end } => (len, with_end, false),
            _ => {
                splitter.lenient(first_line, &mut fields);
                (line_len, line_end, true)
            }
        };
        let record = &rest[..len];
        let filled = filled(record, &fields);
        rows.push(SampleRecord { offset, line, len, width: fields.count, filled, defective });
        line += line_ends.count(&rest[..with_end]);
        offset += with_end;
    }
    rows
}

/// Splits a record of the sample, one that breaks the grammar as `repair_widths` read it.
pub(crate) fn split_record(
    record: &[u8],
    row: &SampleRecord,
    splitter: &RecordSplitter,
    fields: &mut Fields,
) {
    if !row.defective {
        splitter.strict(record, true, fields);
    } else if repair(splitter, record, row.width, fields).is_none() {
        splitter.lenient(record, fields);
    }
}

/// Gives the first defective records the width that the sound ones have, where the reader will be able to repair them.
pub(crate) fn repair_widths(text: &[u8], rows: &mut [SampleRecord], splitter: &RecordSplitter) {
    let width = modal_width(rows);
    let mut fields = Fields::default();
    for row in rows.iter_mut().filter(|row| row.defective).take(REPAIRED_ROWS) {
        let record = &text[row.offset..row.offset + row.len];
        if row.width != width && repair(splitter, record, width, &mut fields).is_some() {
            row.width = width;
            row.filled = filled(record, &fields);
        }
    }
}

/// The number of cells that are not empty.
fn filled(record: &[u8], fields: &Fields) -> usize {
    let cells = (0..fields.spans.len()).filter_map(|index| fields.get(record, index));
    cells.filter(|cell| !cell.trim_ascii().is_empty()).count()
}

/// The cells of a record of the sample.
pub(crate) fn cells(text: &[u8], row: &SampleRecord, splitter: &RecordSplitter) -> Vec<Vec<u8>> {
    let record = &text[row.offset..row.offset + row.len];
    let mut fields = Fields::default();
    split_record(record, row, splitter, &mut fields);
    (0..fields.spans.len()).filter_map(|index| fields.get(record, index)).map(<[u8]>::to_vec).collect()
}

/// The width that most sound records have; the larger among equals. 0 without records.
pub(crate) fn modal_width(rows: &[SampleRecord]) -> usize {
    let mut counts = std::collections::BTreeMap::new();
    for row in rows {
        // A defective record's width is a guess and counts when there is nothing better.
        *counts.entry(row.width).or_insert(0usize) += if row.defective { 1 } else { 16 };
    }
    counts.into_iter().max_by_key(|(width, count)| (*count, *width)).map_or(0, |(width, _)| width)
}

pub(crate) fn is_marked(text: &[u8], row: &SampleRecord) -> bool {
    text.get(row.offset) == Some(&b'#')
}

/// The width of the table, lines that begin with `#` left aside.
pub(crate) fn table_rows_width(text: &[u8], rows: &[SampleRecord]) -> usize {
    modal_width(&rows.iter().filter(|row| !is_marked(text, row)).copied().collect::<Vec<_>>())
}
