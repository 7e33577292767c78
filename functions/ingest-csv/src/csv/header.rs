//! Where the table begins and how many of its rows are header.

use super::detect::{Seen, cells, modal_width};
use super::split::Splitter;
use super::types::{Type, type_of};

/// Header rows beyond these are data.
const MAX_HEADER_ROWS: usize = 3;
/// Rows that columns are judged by.
const JUDGED_ROWS: usize = 300;

/// The first row of the table, header included: the first one at least half as full as the median, so that titles,
/// notes and rows of nothing but delimiters above it are left out.
pub(super) fn first_row(rows: &[Seen]) -> usize {
    let width = modal_width(rows);
    let mut filled: Vec<usize> = rows.iter().map(|row| row.filled).collect();
    filled.sort_unstable();
    let median = filled.get(filled.len() / 2).copied().unwrap_or(0);
    let fits = |row: &Seen| row.filled * 2 >= median && row.filled > 0 && (width < 2 || row.width > 1);
    let Some(first) = rows.iter().position(fits) else { return 0 };
    // A note that happens to hold a delimiter or two, right above a header of the right width.
    let mut start = first;
    while start < first + 5
        && let (Some(row), Some(next)) = (rows.get(start), rows.get(start + 1))
        && row.width * 2 <= width
        && next.width == width
        && !next.faulty
    {
        start += 1;
    }
    start
}

/// How many rows at the top are header, by a vote of their cells against the types of the columns below.
pub(super) fn header_rows(text: &[u8], rows: &[Seen], splitter: &Splitter) -> usize {
    let width = modal_width(rows);
    let top: Vec<Vec<Vec<u8>>> =
        rows.iter().take(MAX_HEADER_ROWS + 1).map(|row| cells(text, row, splitter)).collect();
    let Some(first) = top.first() else { return 0 };
    let skipped = (rows.len() / 2).clamp(1, MAX_HEADER_ROWS);
    let body: Vec<Vec<Vec<u8>>> = rows
        .iter()
        .skip(skipped)
        .filter(|row| row.width == width && !row.faulty)
        .take(JUDGED_ROWS)
        .map(|row| cells(text, row, splitter))
        .collect();
    if body.is_empty() {
        return usize::from(first.iter().all(|cell| type_of(cell) == Type::Text) && distinct(first));
    }
    let typed: Vec<bool> = (0..width).map(|index| is_typed(&body, index)).collect();
    let vote = |row: &[Vec<u8>]| {
        let mut votes = 0.0;
        for (index, cell) in row.iter().enumerate().take(width) {
            match (typed[index], type_of(cell)) {
                (_, Type::Empty) => {}
                (true, Type::Text) => votes += 1.0,
                (true, _) => votes -= 1.0,
                // A value that occurs again below it is a value.
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

fn distinct(row: &[Vec<u8>]) -> bool {
    let mut seen = std::collections::HashSet::new();
    row.iter().filter(|cell| !cell.is_empty()).all(|cell| seen.insert(cell))
}

/// Whether four of five of a column's values are numbers, dates or truth values.
fn is_typed(body: &[Vec<Vec<u8>>], index: usize) -> bool {
    let (mut values, mut texts) = (0usize, 0usize);
    for row in body {
        match row.get(index).map(|cell| type_of(cell)) {
            Some(Type::Text) => texts += 1,
            Some(Type::Empty) | None => {}
            Some(_) => values += 1,
        }
    }
    values > 0 && values >= 4 * texts
}
