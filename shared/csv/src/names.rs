//! Column names.
//!
//! A name is its header cells, blanks and byte order marks around them removed, joined with a space when the header has
//! several rows; NUL and bytes that are not UTF-8 become U+FFFD. A column without a name is `column_<n>`, from 1. A
//! name that an earlier column has gets the first of the suffixes `_2`, `_3`, … that no column has.

use std::collections::HashSet;

pub(crate) fn column_names(rows: &[Vec<Vec<u8>>], width: usize) -> Vec<String> {
    let joined = (0..width).map(|index| {
        let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| clean(cell));
        cells.filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join(" ")
    });
    unique(joined.collect())
}

fn clean(cell: &[u8]) -> String {
    let text = String::from_utf8_lossy(cell).replace('\0', "\u{fffd}");
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}').to_owned()
}

/// Fills missing names and makes all names unique. The first of several equal names is unchanged.
pub(crate) fn unique(names: Vec<String>) -> Vec<String> {
    let mut reserved: HashSet<String> = names.iter().filter(|name| !name.is_empty()).cloned().collect();
    let mut used = HashSet::new();
    let mut result = Vec::with_capacity(names.len());
    for (index, name) in names.into_iter().enumerate() {
        let base = if name.is_empty() { format!("column_{}", index + 1) } else { name.clone() };
        // A generated name must differ from every name in the header.
        let mut candidate = base.clone();
        let mut suffix = 2;
        while used.contains(&candidate) || (candidate != name && reserved.contains(&candidate)) {
            candidate = format!("{base}_{suffix}");
            suffix += 1;
        }
        used.insert(candidate.clone());
        reserved.insert(candidate.clone());
        result.push(candidate);
    }
    result
}
