//! Tables that fit a width: each row is one line, and the columns at the end are left out.

use super::width::{columns, cut, visible};

const INDENT: usize = 2;
const GAP: usize = 2;
/// Less of a text says nothing.
const NARROW: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Align {
    Left,
    Right,
}

/// A column of a table. The columns of a table are in the order of their importance.
#[derive(Debug, Clone, Copy)]
pub struct TableColumn {
    name: &'static str,
    align: Align,
    /// Text is cut, to this width at least.
    least: Option<usize>,
    is_optional: bool,
}

impl TableColumn {
    /// Names and words, which are not cut.
    pub const fn word(name: &'static str) -> Self {
        TableColumn { name, align: Align::Left, least: None, is_optional: false }
    }

    /// Numbers and times.
    pub const fn number(name: &'static str) -> Self {
        TableColumn { name, align: Align::Right, least: None, is_optional: false }
    }

    /// Text of any length, cut where it does not fit, but to no less than `least` columns.
    pub const fn text(name: &'static str, least: usize) -> Self {
        TableColumn { name, align: Align::Left, least: Some(least), is_optional: false }
    }

    /// Shown only where no text has to be cut for it.
    pub const fn optional(self) -> Self {
        TableColumn { is_optional: true, ..self }
    }
}

/// The lines of a table, the header first.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    pub lines: Vec<String>,
    /// Whether a column is left out, or text is cut.
    pub is_cut: bool,
}

/// Lays out the table in lines of at most `width` columns; `None` is any width. A column without text is left out.
pub fn lay_out(all: &[TableColumn], rows: &[Vec<String>], width: Option<usize>) -> Layout {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| visible(cell)).collect()).collect();
    let shown: Vec<(usize, TableColumn)> = (0..)
        .zip(all.iter().copied())
        .filter(|(at, _)| rows.is_empty() || rows.iter().any(|row| !row[*at].is_empty()))
        .collect();
    let natural: Vec<usize> = shown
        .iter()
        .map(|(at, column)| rows.iter().map(|row| columns(&row[*at])).fold(columns(column.name), usize::max))
        .collect();
    let widths = match width {
        Some(width) => fit(&shown, &natural, width),
        None => natural.clone(),
    };
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = " ".repeat(INDENT);
        for (((_, column), width), cell) in shown.iter().zip(&widths).zip(cells) {
            let cell = cut(cell, *width);
            let padding = " ".repeat(width.saturating_sub(columns(&cell)));
            match column.align {
                Align::Left => line.extend([cell.as_str(), &padding]),
                Align::Right => line.extend([padding.as_str(), &cell]),
            }
            line.push_str(&" ".repeat(GAP));
        }
        line.trim_end().to_owned()
    };
    let mut lines = vec![line(&mut shown.iter().map(|(_, column)| column.name))];
    lines.extend(rows.iter().map(|row| line(&mut shown.iter().map(|(at, _)| row[*at].as_str()))));
    Layout { lines, is_cut: widths != natural }
}

/// The widths of the columns that are shown.
fn fit(shown: &[(usize, TableColumn)], natural: &[usize], width: usize) -> Vec<usize> {
    let total =
        |widths: &[usize]| INDENT + widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
    let least = |limit: usize| -> Vec<usize> {
        let least = |((_, column), natural): (&(usize, TableColumn), &usize)| match column.least {
            Some(least) => least.min(limit).max(columns(column.name)).min(*natural),
            None => *natural,
        };
        shown.iter().zip(natural).map(least).collect()
    };
    // On a narrow terminal text is cut further, rather than that a column is left out.
    let needed = shown.iter().take_while(|(_, column)| !column.is_optional).count();
    let comfortable = least(usize::MAX);
    let least = if total(&comfortable[..needed]) <= width { comfortable } else { least(NARROW) };

    let mut count = 0;
    for (at, (_, column)) in shown.iter().enumerate() {
        let widths = if column.is_optional { &natural[..=at] } else { &least[..=at] };
        // The first column is always shown.
        if at > 0 && total(widths) > width {
            break;
        }
        count = at + 1;
    }
    let mut widths = natural[..count].to_vec();
    while total(&widths) > width {
        // The widest text loses a column, the last of several.
        match (0..count).filter(|at| widths[*at] > least[*at]).max_by_key(|at| widths[*at]) {
            Some(widest) => widths[widest] -= 1,
            // Only the first column is left, and it is wider than the line.
            None => {
                widths[0] = width.saturating_sub(INDENT).max(1);
                break;
            }
        }
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [TableColumn; 4] = [
        TableColumn::text("name", 6),
        TableColumn::number("rows"),
        TableColumn::text("reason", 8),
        TableColumn::word("kind").optional(),
    ];

    fn table(reason: &str, width: usize) -> Vec<String> {
        let row = |name: &str, rows: &str| [name, rows, reason, "rollup"].map(str::to_owned).to_vec();
        let layout = lay_out(&COLUMNS, &[row("orders", "7"), row("orders_by_day", "1,200")], Some(width));
        assert!(layout.lines.iter().all(|line| columns(line) <= width), "{width}: {layout:#?}");
        layout.lines
    }

    #[test]
    fn a_table_that_fits_is_whole() {
        assert_eq!(
            table("a table is gone", 48),
            [
                "  name            rows  reason           kind",
                "  orders             7  a table is gone  rollup",
                "  orders_by_day  1,200  a table is gone  rollup",
            ]
        );
    }

    #[test]
    fn text_is_cut_and_optional_columns_are_left_out() {
        assert_eq!(
            table("a table is gone", 36),
            [
                "  name            rows  reason",
                "  orders             7  a table is …",
                "  orders_by_day  1,200  a table is …",
            ]
        );
        assert_eq!(table("a table is gone", 30)[2], "  orders_by…  1,200  a table …");
    }

    #[test]
    fn columns_at_the_end_are_left_out_of_a_narrow_table() {
        assert_eq!(
            table("a table is gone", 20),
            ["  name          rows", "  orders           7", "  orders_by_…  1,200"]
        );
        assert_eq!(table("a table is gone", 6), ["  name", "  ord…", "  ord…"]);
    }

    #[test]
    fn a_column_without_text_is_left_out() {
        assert_eq!(table("", 40)[0], "  name            rows  kind");
    }
}
