//! Detects a file's dialect from its first bytes.
//!
//! The steps, in their order: the line ends, Excel's `sep=` directive, delimiter with quote and escape, comments, the
//! table's first row, its header, its width. A file without a repeated delimiter is a table of one column.

use memchr::memmem;

use crate::candidates::best_candidate;
use crate::code::CsvCode;
use crate::dialect::{Declared, Dialect, Terminator};
use crate::directive::directive;
use crate::error::{Error, Result};
use crate::header::{first_row, header_rows};
use crate::header_line::{header_with_other_delimiter, remove_surplus_cells};
use crate::limits::CsvLimits;
use crate::line_end::{LineEnd, LineEnds};
use crate::names::{column_names, unique};
use crate::options::DeclaredHeader;
use crate::row::CsvPosition;
use crate::sample::{
    SCORED_ROWS, SampleRecord, cells, is_marked, modal_width, repair_widths, scan, table_rows_width,
    whole_lines,
};
use crate::split::RecordSplitter;

/// The bytes of the sample on which candidates are scored.
const SCORED_BYTES: usize = 128 * 1024;

/// Finds the dialect of the file that begins with `sample`; `whole` says that it also ends there. What is declared
/// is taken as it is. Fails, with kind `File`, for a table of more columns than allowed (`too_many_columns`) and for
/// a first line or lines to skip that the sample cannot hold (`header_too_long`, `preamble_too_long`).
pub fn detect(sample: &[u8], whole: bool, declared: &Declared, limits: &CsvLimits) -> Result<Dialect> {
    let line_ends = LineEnds::detect(sample);
    let text = if whole { sample } else { whole_lines(sample, line_ends) };
    let bom = if text.starts_with("\u{feff}".as_bytes()) { 3 } else { 0 };
    let fixed_names = matches!(declared.header, Some(DeclaredHeader::Names(_) | DeclaredHeader::Rows(0)));
    if !whole && !fixed_names && line_ends.find(text).is_none() {
        let message = format!("detect the header: the first line is over {} bytes", text.len());
        return Err(Error::file(CsvCode::HeaderTooLong, message));
    }
    let skipped = declared.skip_lines.unwrap_or(0);
    let (mut offset, mut line) = skip_lines(text, bom, skipped, line_ends);
    if !whole && line <= skipped {
        let message = format!("skip {skipped} lines: they are over {} bytes", text.len());
        return Err(Error::file(CsvCode::PreambleTooLong, message));
    }
    let directive = directive(&text[bom..], line_ends);
    let mut declared = declared.clone();
    if let Some(directive) = &directive {
        if skipped == 0 {
            offset = bom + directive.len;
            line = 2;
        }
        // A directive is ignored when its delimiter does not occur in the file.
        let named = &directive.delimiter;
        if declared.delimiter.is_none() && memmem::find(&text[offset..], named.as_bytes()).is_some() {
            declared.delimiter = Some(named.clone());
        }
    }
    let declared = &declared;
    let scored = window(&text[offset..], line_ends);
    let (splitter, delimiter) = best_candidate(scored, line_ends, declared);

    let mut dialect = Dialect {
        delimiter,
        quote: splitter.quote,
        escape: splitter.escape,
        terminator: terminator(text, line_ends),
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
    repair_widths(text, &mut rows, &splitter);
    if rows.is_empty() {
        if let Some(DeclaredHeader::Names(names)) = &declared.header {
            dialect.columns = unique(names.clone());
        }
        return Ok(dialect);
    }

    let first = if declared.skip_lines.is_some() { 0 } else { first_row(&rows) };
    let mut count = match &declared.header {
        Some(DeclaredHeader::Rows(count)) => (*count as usize).min(rows.len() - first),
        Some(DeclaredHeader::Names(_)) => 0,
        None => header_rows(text, &rows[first..], &splitter),
    };
    let mut other_header = None;
    if count == 0 && declared.header.is_none() {
        other_header = header_with_other_delimiter(text, &rows, first, &splitter);
    }
    let first = if other_header.is_some() { first - 1 } else { first };
    let rows = &rows[first..];
    count += usize::from(other_header.is_some());
    let width = table_width(&rows[..count], &rows[count..]);
    let mut cells: Vec<Vec<Vec<u8>>> = match other_header {
        Some(names) => vec![names],
        None => rows[..count].iter().map(|row| cells(text, row, &splitter)).collect(),
    };
    if let ([header], None) = (&mut cells[..], &declared.header) {
        remove_surplus_cells(header, &rows[count..], width);
    }
    // A delimiter at the end of every row, but not of the header, makes no column.
    let named = cells.iter().map(Vec::len).max().unwrap_or(0);
    let width = if named + 1 == width && last_cells_empty(text, &rows[count..], width, &splitter) {
        named
    } else {
        width
    };
    if width > limits.max_columns {
        let message = format!("detect the columns: {width}, more than the {} allowed", limits.max_columns);
        return Err(Error::file(CsvCode::TooManyColumns, message));
    }
    if width == 1 && !dialect.delimiter.is_empty() && declared.delimiter.is_none() {
        // The delimiter yields no table: every line is a value.
        let declared = Declared { delimiter: Some(String::new()), ..declared.clone() };
        return detect(sample, whole, &declared, limits);
    }
    dialect.columns = match &declared.header {
        Some(DeclaredHeader::Names(names)) => unique(names.clone()),
        _ => column_names(&cells, width),
    };
    dialect.header_rows = count as u32;
    dialect.skip_lines = rows[0].line - 1;
    let start = data_start(text, rows, count, line_ends);
    (dialect.data_offset, dialect.data_line) = (start.offset, start.line);
    Ok(dialect)
}

impl Dialect {
    /// The start of the first row.
    pub fn start(&self) -> CsvPosition {
        CsvPosition { record: 0, line: self.data_line, offset: self.data_offset }
    }
}

fn data_start(text: &[u8], rows: &[SampleRecord], header: usize, line_ends: LineEnds) -> CsvPosition {
    let Some(last) = header.checked_sub(1).and_then(|index| rows.get(index)) else {
        return rows.first().map_or(CsvPosition::default(), |row| CsvPosition {
            record: 0,
            line: row.line,
            offset: row.offset as u64,
        });
    };
    let end = last.offset + last.len;
    let with_end = match line_ends.at(&text[end..], true) {
        LineEnd::Some(len) => end + len,
        _ => end,
    };
    let lines = line_ends.count(&text[last.offset..with_end]);
    CsvPosition { record: 0, line: last.line + lines, offset: with_end as u64 }
}

fn window(text: &[u8], line_ends: LineEnds) -> &[u8] {
    if text.len() <= SCORED_BYTES { text } else { whole_lines(&text[..SCORED_BYTES], line_ends) }
}

/// Passes over `count` lines from `offset`; returns the offset and number of the line after them.
fn skip_lines(text: &[u8], mut offset: usize, count: u64, line_ends: LineEnds) -> (usize, u64) {
    let mut line = 1;
    while line <= count {
        let Some(at) = line_ends.find(&text[offset..]) else { return (text.len(), line) };
        let LineEnd::Some(end) = line_ends.at(&text[offset + at..], true) else { return (text.len(), line) };
        offset += at + end;
        line += 1;
    }
    (offset, line)
}

fn terminator(text: &[u8], line_ends: LineEnds) -> Terminator {
    if line_ends == LineEnds::RecordSeparator {
        return Terminator::Rs;
    }
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

/// The width of the header where a good part of the rows has it too, else the one that most rows have.
fn table_width(header: &[SampleRecord], body: &[SampleRecord]) -> usize {
    let modal = modal_width(body);
    let Some(named) = header.iter().map(|row| row.width).max() else { return modal };
    let count = |width| body.iter().filter(|row| row.width == width && !row.defective).count();
    if body.iter().all(|row| row.defective) || (count(named) > 0 && count(named) * 3 >= count(modal)) {
        named
    } else {
        modal
    }
}

fn last_cells_empty(text: &[u8], rows: &[SampleRecord], width: usize, splitter: &RecordSplitter) -> bool {
    let last = |row: &SampleRecord| cells(text, row, splitter).pop().is_some_and(|cell| cell.is_empty());
    rows.iter().filter(|row| row.width == width).take(SCORED_ROWS).all(last)
}

/// Lines that begin with `#` are comments when one of them has not the table's width, and none below the first row has.
fn has_comments(text: &[u8], rows: &[SampleRecord]) -> bool {
    let width = table_rows_width(text, rows);
    let is_row = |row: &&SampleRecord| is_marked(text, row) && row.width == width;
    let first = rows.iter().position(|row| !is_marked(text, row)).unwrap_or(0);
    width > 1
        && rows.iter().any(|row| is_marked(text, row) && row.width != width)
        && !rows[first..].iter().any(|row| is_row(&row))
}
