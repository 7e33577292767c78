//! Detects the first row of the table and the number of its header rows.

use crate::labels::number_labels;
use crate::sample::{SampleRecord, cells, modal_width};
use crate::split::RecordSplitter;
use crate::types::{Type, type_of};

/// Header rows beyond these are data.
const MAX_HEADER_ROWS: usize = 3;
/// The number of rows from which the types of columns are determined.
pub(crate) const EXAMINED_ROWS: usize = 300;

/// The first row of the table, header included: the first one at least half as full as the median, so that titles,
/// notes and rows of nothing but delimiters above it are left out.
pub(crate) fn first_row(rows: &[SampleRecord]) -> usize {
    let width = modal_width(rows);
    let mut filled: Vec<usize> = rows.iter().map(|row| row.filled).collect();
    filled.sort_unstable();
    let median = filled.get(filled.len() / 2).copied().unwrap_or(0);
    let fits =
        |row: &SampleRecord| row.filled * 2 >= median && row.filled > 0 && (width < 2 || row.width > 1);
    let Some(first) = rows.iter().position(fits) else { return 0 };
    // A note that happens to hold a delimiter or two, right above a header of the right width.
    let mut start = first;
    while start < first + 5
        && let (Some(row), Some(next)) = (rows.get(start), rows.get(start + 1))
        && row.width * 2 <= width
        && next.width == width
        && !next.defective
    {
        start += 1;
    }
    start
}

/// How many rows at the top are header, by a vote of their cells against the types of the columns below.
pub(crate) fn header_rows(text: &[u8], rows: &[SampleRecord], splitter: &RecordSplitter) -> usize {
    let width = modal_width(rows);
    let top: Vec<Vec<Vec<u8>>> =
        rows.iter().take(MAX_HEADER_ROWS + 1).map(|row| cells(text, row, splitter)).collect();
    let Some(first) = top.first() else { return 0 };
    let skipped = (rows.len() / 2).clamp(1, MAX_HEADER_ROWS);
    let body: Vec<Vec<Vec<u8>>> = rows
        .iter()
        .skip(skipped)
        .filter(|row| row.width == width && !row.defective)
        .take(EXAMINED_ROWS)
        .map(|row| cells(text, row, splitter))
        .collect();
    if body.is_empty() {
        return usize::from(first.iter().all(|cell| type_of(cell) == Type::Text) && distinct(first));
    }
    let columns: Vec<ColumnTypes> = (0..width).map(|index| column(&body, index)).collect();
    let typed: Vec<bool> = columns.iter().map(|column| column.is_typed).collect();
    let numeric: Vec<usize> = (0..width).filter(|index| columns[*index].only == Some(Type::Number)).collect();
    let labels = number_labels(first, &body, &numeric, has_name(first, &columns, &body));
    let vote = |row: &[Vec<u8>]| {
        let mut votes = 0.0;
        for (index, cell) in row.iter().enumerate().take(width) {
            match (typed[index], type_of(cell)) {
                (_, Type::Empty) => {}
                (true, Type::Text) => votes += 1.0,
                (true, Type::Number) if labels.contains(&index) => votes += 1.0,
                // Months above amounts, years above dates.
                (true, found @ (Type::Number | Type::Date)) if matches!(columns[index].only, Some(only @ (Type::Number | Type::Date)) if only != found) =>
                {
                    votes += 1.0;
                }
                (true, _) => votes -= 1.0,
                // A cell that occurs again in the rows below is a value.
                (false, Type::Text) => {
                    let again = body.iter().any(|row| row.get(index) == Some(cell));
                    votes += if again { -0.5 } else { 0.05 };
                }
                (false, _) => votes -= 0.25,
            }
        }
        votes
    };
    // Where no column is typed there is little to vote on: only a row of names, each once, none missing, is a header.
    let names =
        first.len() >= width && distinct(first) && first.iter().all(|cell| type_of(cell) == Type::Text);
    if vote(first) <= 0.0 || (!names && typed.iter().all(|typed| !typed)) {
        return 0;
    }
    let mut count = 1;
    while count < MAX_HEADER_ROWS && count + 1 < rows.len() {
        let (Some(row), Some(seen)) = (top.get(count), rows.get(count)) else { break };
        let texts =
            row.iter().zip(&typed).filter(|(cell, typed)| **typed && type_of(cell) == Type::Text).count();
        let values = row
            .iter()
            .zip(&typed)
            .filter(|(cell, typed)| **typed && !matches!(type_of(cell), Type::Text | Type::Empty))
            .count();
        let stacked = seen.width == width
            && (row == first || (texts >= 2 && texts * 2 >= count_true(&typed) && values == 0));
        if !stacked {
            break;
        }
        count += 1;
    }
    count
}

fn count_true(flags: &[bool]) -> usize {
    flags.iter().filter(|flag| **flag).count()
}

pub(crate) fn distinct(row: &[Vec<u8>]) -> bool {
    let mut seen = std::collections::HashSet::new();
    row.iter().filter(|cell| !cell.is_empty()).all(|cell| seen.insert(cell))
}

/// The types of the cells of a column.
pub(crate) struct ColumnTypes {
    /// Four of five values are numbers, dates or truth values.
    pub is_typed: bool,
    /// The one type of all its values, if there is one.
    only: Option<Type>,
}

pub(crate) fn column(body: &[Vec<Vec<u8>>], index: usize) -> ColumnTypes {
    let (mut values, mut texts) = (0usize, 0usize);
    let mut only = None;
    let mut is_mixed = false;
    for row in body {
        match row.get(index).map(|cell| type_of(cell)) {
            Some(Type::Empty) | None => {}
            Some(found) => {
                is_mixed |= only.is_some_and(|only| only != found);
                only = Some(found);
                if found == Type::Text { texts += 1 } else { values += 1 }
            }
        }
    }
    ColumnTypes { is_typed: values > 0 && values >= 4 * texts, only: only.filter(|_| !is_mixed) }
}

/// Whether the row holds a name beside its numbers: a text that no row below repeats, or an empty corner above values.
fn has_name(first: &[Vec<u8>], columns: &[ColumnTypes], body: &[Vec<Vec<u8>>]) -> bool {
    first.iter().zip(columns).enumerate().any(|(index, (cell, column))| match type_of(cell) {
        Type::Text => column.is_typed || !body.iter().any(|row| row.get(index) == Some(cell)),
        Type::Empty => {
            index == 0 && body.iter().all(|row| row.first().is_some_and(|cell| type_of(cell) != Type::Empty))
        }
        _ => false,
    })
}
