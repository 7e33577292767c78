//! Reads the tables of a page in `docs/`.

use super::read;

pub const CONFIGURATION: &str = "docs/configuration.md";

/// The text below a heading of a page, up to the next heading.
pub fn section(page: &str, heading: &str) -> String {
    let text = read(page);
    let (_, section) = text.split_once(&format!("\n{heading}\n")).expect(heading);
    section.split("\n#").next().expect("a beginning").to_owned()
}

/// The rows of the table of a section whose first column has the name `column`.
pub fn rows(section: &str, column: &str) -> Vec<Vec<String>> {
    let header = format!("| {column} | ");
    let rows: Vec<Vec<String>> = section
        .lines()
        .skip_while(|line| !line.starts_with(&header))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect())
        .collect();
    assert!(!rows.is_empty(), "no table `{column}`");
    rows
}

/// The values in backticks.
pub fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The single name in backticks.
pub fn name(cell: &str) -> String {
    let names = quoted(cell);
    assert_eq!(names.len(), 1, "one name in {cell}");
    names.concat()
}
