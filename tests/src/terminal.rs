//! What `millrace` prints for people: tables and prose of a given width.

use std::collections::BTreeMap;

use millrace_cli::terminal::width::columns;

/// Fails if a line is wider than `width` columns.
#[track_caller]
pub fn assert_fits(text: &str, width: usize) {
    for line in text.lines() {
        assert!(columns(line) <= width, "{} columns: {line}\n{text}", columns(line));
    }
}

/// Wrapped prose in one line.
pub fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The cells of a line of a table. No cell may be empty.
pub fn cells(line: &str) -> Vec<String> {
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
}

/// The line of a table with this first cell, by column. `first` is the name of the first column.
#[track_caller]
pub fn row(text: &str, first: &str, name: &str) -> BTreeMap<String, String> {
    let is = |line: &&str, cell: &str| cells(line).first().is_some_and(|it| it == cell);
    let header = text.lines().find(|line| is(line, first)).unwrap_or_else(|| panic!("no {first}\n{text}"));
    let line = text.lines().find(|line| is(line, name)).unwrap_or_else(|| panic!("no {name}\n{text}"));
    let (header, line) = (cells(header), cells(line));
    assert!(header.len() >= line.len(), "{header:?} {line:?}");
    header.into_iter().zip(line).collect()
}
