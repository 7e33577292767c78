//! Header lines that are written differently from the rows below them.

use crate::header::{EXAMINED_ROWS, column, distinct};
use crate::sample::{SampleRecord, cells, modal_width};
use crate::split::{Fields, RecordSplitter, SplitOutcome};
use crate::types::{Type, type_of};

/// Delimiters that a header is tried with when its rows have another one. A colon and `#` are left out: titles hold them.
const DELIMITERS: [&str; 11] = [",", ";", "\t", "|", "\u{1}", "\u{1f}", "^", "~", "||", "::", " "];
/// A title with a comma in it is as wide as many tables of two columns.
const MIN_WIDTH: usize = 3;

/// The cells of the line above `rows[first]` when it is the header of that table, written with another delimiter.
///
/// The caller has found no header in the table itself. The line names every column: with one of the delimiters it has
/// the table's width, and its cells are texts, no two the same. One column below it at least holds no text.
pub(crate) fn header_with_other_delimiter(
    text: &[u8],
    rows: &[SampleRecord],
    first: usize,
    splitter: &RecordSplitter,
) -> Option<Vec<Vec<u8>>> {
    let row = rows.get(first.checked_sub(1)?)?;
    let table = &rows[first..];
    let width = modal_width(table);
    // An empty line between the two separates a title from its table.
    let is_adjacent = table[0].line == row.line + 1;
    if row.width != 1 || width < MIN_WIDTH || !is_adjacent {
        return None;
    }
    let line = &text[row.offset..row.offset + row.len];
    let names = DELIMITERS.iter().find_map(|delimiter| names(line, delimiter, width, splitter))?;
    let body: Vec<Vec<Vec<u8>>> = table
        .iter()
        .filter(|row| row.width == width && !row.defective)
        .take(EXAMINED_ROWS)
        .map(|row| cells(text, row, splitter))
        .collect();
    (0..width).any(|index| column(&body, index).is_typed).then_some(names)
}

/// The line's cells, when this delimiter makes it a row of `width` names.
fn names(line: &[u8], delimiter: &str, width: usize, splitter: &RecordSplitter) -> Option<Vec<Vec<u8>>> {
    // Words between blanks are a title as well, unless some of them are quoted.
    if delimiter == " " && !splitter.quote.is_some_and(|quote| line.contains(&quote)) {
        return None;
    }
    let splitter = RecordSplitter::new(delimiter.as_bytes(), splitter.quote, splitter.escape, usize::MAX)
        .with_line_ends(splitter.line_ends);
    let mut fields = Fields::default();
    let SplitOutcome::Complete { len, .. } = splitter.strict(line, true, &mut fields) else { return None };
    if len != line.len() || fields.count != width {
        return None;
    }
    let cells: Vec<Vec<u8>> =
        (0..width).filter_map(|index| fields.get(line, index)).map(<[u8]>::to_vec).collect();
    (cells.iter().all(|cell| type_of(cell) == Type::Text) && distinct(&cells)).then_some(cells)
}

/// Removes the empty cells of a header that has exactly so many cells too many: without this, the names to their right
/// belong to the wrong columns. Rows of several widths say nothing about the header, and it stays as it is.
pub(crate) fn remove_surplus_cells(header: &mut Vec<Vec<u8>>, body: &[SampleRecord], width: usize) {
    let is_empty = |cell: &Vec<u8>| cell.trim_ascii().is_empty();
    let Some(surplus) = header.len().checked_sub(width) else { return };
    let regular = body.iter().filter(|row| row.width == width && !row.defective).count();
    if surplus > 0
        && header.iter().filter(|cell| is_empty(cell)).count() == surplus
        && regular * 10 >= body.len() * 9
        && regular > 0
        && body.iter().all(|row| row.width <= width)
    {
        header.retain(|cell| !is_empty(cell));
    }
}
