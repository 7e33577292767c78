//! Finding a file's dialect from its first bytes.
//!
//! Every delimiter that occurs is tried with every quote. A candidate scores by how many records follow the grammar at
//! one and the same width, by that width, and by how many cells look like one value (a number, a date, a plain
//! word) rather than several glued together. A file in which nothing repeats is a table of one column.

use memchr::memmem;
use millrace::{Error, Kind, Result};

use super::Header;
use super::Limits;
use super::choose::choose;
use super::dialect::{Declared, Dialect, Terminator};
use super::header::{first_row, header_rows};
use super::names::{column_names, unique};
use super::repair::repair;
use super::row::Position;
use super::split::{Fields, LineEnd, Outcome, Splitter, line_end_at};

/// Candidates are scored on this much of the sample.
const SCORED_BYTES: usize = 128 * 1024;
pub(super) const SCORED_ROWS: usize = 2_000;
/// Faulty records looked at closely.
const MENDED_ROWS: usize = 50;

/// One record of the sample.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub offset: usize,
    pub line: u64,
    pub len: usize,
    pub width: usize,
    /// Cells that hold something.
    pub filled: usize,
    /// It breaks the grammar: the width is a guess from its first line.
    pub faulty: bool,
}

/// Finds the dialect of the file that begins with `sample`; `whole` says that it also ends there. What is declared
/// is taken as it is. Fails, with kind `Contract`, for a table of more columns than allowed (`too_many_columns`) and for
/// a first line or lines to skip that the sample cannot hold (`header_too_long`, `preamble_too_long`).
pub fn detect(sample: &[u8], whole: bool, declared: &Declared, limits: &Limits) -> Result<Dialect> {
    let text = if whole { sample } else { whole_lines(sample) };
    let bom = if text.starts_with("\u{feff}".as_bytes()) { 3 } else { 0 };
    let fixed_names = matches!(declared.header, Some(Header::Names(_) | Header::Rows(0)));
    if !whole && !fixed_names && memchr::memchr2(b'\n', b'\r', text).is_none() {
        let message = format!("detect the header: the first line is over {} bytes", text.len());
        return Err(Error::new(Kind::Contract, message).with_code("header_too_long"));
    }
    let skipped = declared.skip_lines.unwrap_or(0);
    let (offset, line) = skip_lines(text, bom, skipped);
    if !whole && line <= skipped {
        let message = format!("skip {skipped} lines: they are over {} bytes", text.len());
        return Err(Error::new(Kind::Contract, message).with_code("preamble_too_long"));
    }
    let scored = window(&text[offset..]);
    let (splitter, delimiter) = choose(scored, declared);

    let mut dialect = Dialect {
        delimiter,
        quote: splitter.quote,
        escape: splitter.escape,
        terminator: terminator(text),
        comment: declared.comment.and_then(|mark| mark.byte()),
        skip_lines: line - 1,
        header_rows: 0,
        columns: Vec::new(),
        data_offset: offset as u64,
        data_line: line,
    };
    let mut rows = scan(text, offset, line, &splitter, dialect.comment, usize::MAX);
    if declared.comment.is_none() && has_comments(text, &rows) {
        dialect.comment = Some(b'#');
        rows = scan(text, offset, line, &splitter, dialect.comment, usize::MAX);
    }
    mend(text, &mut rows, &splitter);
    if rows.is_empty() {
        if let Some(Header::Names(names)) = &declared.header {
            dialect.columns = unique(names.clone());
        }
        return Ok(dialect);
    }

    let first = if declared.skip_lines.is_some() { 0 } else { first_row(&rows) };
    let rows = &rows[first..];
    let count = match &declared.header {
        Some(Header::Rows(count)) => (*count as usize).min(rows.len()),
        Some(Header::Names(_)) => 0,
        None => header_rows(text, rows, &splitter),
    };
    let width = table_width(&rows[..count], &rows[count..]);
    let cells: Vec<Vec<Vec<u8>>> = rows[..count].iter().map(|row| cells(text, row, &splitter)).collect();
    // A delimiter at the end of every row, but not of the header, makes no column.
    let named = cells.iter().map(Vec::len).max().unwrap_or(0);
    let width = if named + 1 == width && last_cells_empty(text, &rows[count..], width, &splitter) {
        named
    } else {
        width
    };
    if width > limits.max_columns {
        let message = format!("detect the columns: {width}, more than the {} allowed", limits.max_columns);
        return Err(Error::new(Kind::Contract, message).with_code("too_many_columns"));
    }
    if width == 1 && !dialect.delimiter.is_empty() && declared.delimiter.is_none() {
        // The delimiter made no table after all: every line is a value.
        let declared = Declared { delimiter: Some(String::new()), ..declared.clone() };
        return detect(sample, whole, &declared, limits);
    }
    dialect.columns = match &declared.header {
        Some(Header::Names(names)) => unique(names.clone()),
        _ => column_names(&cells, width),
    };
    dialect.header_rows = count as u32;
    dialect.skip_lines = rows[0].line - 1;
    let start = data_start(text, rows, count);
    (dialect.data_offset, dialect.data_line) = (start.offset, start.line);
    Ok(dialect)
}

impl Dialect {
    /// Where the first row begins.
    pub fn start(&self) -> Position {
        Position { record: 0, line: self.data_line, offset: self.data_offset }
    }
}

fn data_start(text: &[u8], rows: &[Seen], header: usize) -> Position {
    let Some(last) = header.checked_sub(1).and_then(|index| rows.get(index)) else {
        return rows.first().map_or(Position::default(), |row| Position {
            record: 0,
            line: row.line,
            offset: row.offset as u64,
        });
    };
    let end = last.offset + last.len;
    let with_end = match line_end_at(&text[end..], true) {
        LineEnd::Some(len) => end + len,
        _ => end,
    };
    let lines = super::split::count_line_ends(&text[last.offset..with_end]);
    Position { record: 0, line: last.line + lines, offset: with_end as u64 }
}

/// The sample up to its last line end; all of it when there is none.
fn whole_lines(sample: &[u8]) -> &[u8] {
    // A \r at the very end may be half of a line end.
    let head = &sample[..sample.len().saturating_sub(1)];
    match memchr::memrchr2(b'\n', b'\r', head) {
        Some(at) if line_end_at(&sample[at..], true) != LineEnd::None => &sample[..at + 1],
        _ => sample,
    }
}

fn window(text: &[u8]) -> &[u8] {
    if text.len() <= SCORED_BYTES { text } else { whole_lines(&text[..SCORED_BYTES]) }
}

/// Passes over `count` lines from `offset`; returns the offset and number of the line after them.
fn skip_lines(text: &[u8], mut offset: usize, count: u64) -> (usize, u64) {
    let mut line = 1;
    while line <= count {
        let Some(at) = memchr::memchr2(b'\n', b'\r', &text[offset..]) else { return (text.len(), line) };
        let LineEnd::Some(end) = line_end_at(&text[offset + at..], true) else { return (text.len(), line) };
        offset += at + end;
        line += 1;
    }
    (offset, line)
}

fn terminator(text: &[u8]) -> Terminator {
    let crlf = memmem::find_iter(text, b"\r\n").count();
    let lf = memchr::memchr_iter(b'\n', text).count() - crlf;
    let cr = memchr::memchr_iter(b'\r', text).count() - crlf;
    if crlf > lf.max(cr) {
        Terminator::CrLf
    } else if cr > lf {
        Terminator::Cr
    } else {
        Terminator::Lf
    }
}

/// Splits the text from `offset` on into records, as the reader would with no width to go by.
pub(super) fn scan(
    text: &[u8],
    mut offset: usize,
    mut line: u64,
    splitter: &Splitter,
    comment: Option<u8>,
    max: usize,
) -> Vec<Seen> {
    let mut rows = Vec::new();
    let mut fields = Fields::default();
    while offset < text.len() && rows.len() < max {
        let rest = &text[offset..];
        let line_len = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let line_end = match line_end_at(&rest[line_len..], true) {
            LineEnd::Some(end) => line_len + end,
            _ => line_len,
        };
        let first_line = &rest[..line_len];
        let blank = first_line.iter().all(|b| matches!(b, b' ' | b'\t')) && !splitter.splits_blanks();
        if first_line.is_empty() || blank || (comment.is_some() && first_line.first().copied() == comment) {
            offset += line_end;
            line += 1;
            continue;
        }
        let (len, with_end, faulty) = match splitter.strict(rest, true, &mut fields) {
            Outcome::Complete { len, with_end } => (len, with_end, false),
            _ => {
                splitter.lenient(first_line, &mut fields);
                (line_len, line_end, true)
            }
        };
        let record = &rest[..len];
        let filled = filled(record, &fields);
        rows.push(Seen { offset, line, len, width: fields.count, filled, faulty });
        line += super::split::count_line_ends(&rest[..with_end]);
        offset += with_end;
    }
    rows
}

/// Splits a record of the sample, one that breaks the grammar as it was mended.
pub(super) fn split(record: &[u8], row: &Seen, splitter: &Splitter, fields: &mut Fields) {
    if !row.faulty {
        splitter.strict(record, true, fields);
    } else if repair(splitter, record, row.width, fields).is_none() {
        splitter.lenient(record, fields);
    }
}

/// Gives the first faulty records the width that the sound ones have, where the reader will be able to repair them.
pub(super) fn mend(text: &[u8], rows: &mut [Seen], splitter: &Splitter) {
    let width = modal_width(rows);
    let mut fields = Fields::default();
    for row in rows.iter_mut().filter(|row| row.faulty).take(MENDED_ROWS) {
        let record = &text[row.offset..row.offset + row.len];
        if row.width != width && repair(splitter, record, width, &mut fields).is_some() {
            row.width = width;
            row.filled = filled(record, &fields);
        }
    }
}

/// How many cells hold something.
fn filled(record: &[u8], fields: &Fields) -> usize {
    let cells = (0..fields.spans.len()).filter_map(|index| fields.get(record, index));
    cells.filter(|cell| !cell.trim_ascii().is_empty()).count()
}

/// The cells of a record of the sample.
pub(super) fn cells(text: &[u8], row: &Seen, splitter: &Splitter) -> Vec<Vec<u8>> {
    let record = &text[row.offset..row.offset + row.len];
    let mut fields = Fields::default();
    split(record, row, splitter, &mut fields);
    (0..fields.spans.len()).filter_map(|index| fields.get(record, index)).map(<[u8]>::to_vec).collect()
}

/// The width that most sound records have; the larger among equals. 0 without records.
pub(super) fn modal_width(rows: &[Seen]) -> usize {
    let mut counts = std::collections::BTreeMap::new();
    for row in rows {
        // A faulty record's width is a guess and counts when there is nothing better.
        *counts.entry(row.width).or_insert(0usize) += if row.faulty { 1 } else { 16 };
    }
    counts.into_iter().max_by_key(|(width, count)| (*count, *width)).map_or(0, |(width, _)| width)
}

/// The width of the header where a good part of the rows has it too, else the one that most rows have.
fn table_width(header: &[Seen], body: &[Seen]) -> usize {
    let modal = modal_width(body);
    let Some(named) = header.iter().map(|row| row.width).max() else { return modal };
    let count = |width| body.iter().filter(|row| row.width == width && !row.faulty).count();
    if body.iter().all(|row| row.faulty) || (count(named) > 0 && count(named) * 3 >= count(modal)) {
        named
    } else {
        modal
    }
}

fn last_cells_empty(text: &[u8], rows: &[Seen], width: usize, splitter: &Splitter) -> bool {
    let last = |row: &Seen| cells(text, row, splitter).pop().is_some_and(|cell| cell.is_empty());
    rows.iter().filter(|row| row.width == width).take(SCORED_ROWS).all(last)
}

pub(super) fn is_marked(text: &[u8], row: &Seen) -> bool {
    text.get(row.offset) == Some(&b'#')
}

/// The width of the table, lines that begin with `#` left aside.
pub(super) fn table_rows_width(text: &[u8], rows: &[Seen]) -> usize {
    modal_width(&rows.iter().filter(|row| !is_marked(text, row)).copied().collect::<Vec<_>>())
}

/// Lines that begin with `#` are comments when one of them has not the table's width, and none below the first row has.
fn has_comments(text: &[u8], rows: &[Seen]) -> bool {
    let width = table_rows_width(text, rows);
    let is_row = |row: &&Seen| is_marked(text, row) && row.width == width;
    let first = rows.iter().position(|row| !is_marked(text, row)).unwrap_or(0);
    width > 1
        && rows.iter().any(|row| is_marked(text, row) && row.width != width)
        && !rows[first..].iter().any(|row| is_row(&row))
}
