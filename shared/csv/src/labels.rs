//! Numbers and dates that are column names: years, months, bins, identifiers.

use crate::types::{Type, type_of};

/// Rows that must exist below before shapes are compared.
const MIN_BODY_VALUES: usize = 6;

/// The columns whose name in `first` is a number. `numeric` are the columns that hold nothing but numbers in `body`.
///
/// Numbers are names when they are written alike and unlike the values below them (identifiers above amounts), or when
/// they are a sequence that the rows below are not (years, bins, positions). `labelled`: the row also holds a name or
/// an empty corner, so it needs less evidence.
pub(crate) fn number_labels(
    first: &[Vec<u8>],
    body: &[Vec<Vec<u8>>],
    numeric: &[usize],
    labelled: bool,
) -> Vec<usize> {
    let labels: Vec<usize> = numeric
        .iter()
        .copied()
        .filter(|index| first.get(*index).is_some_and(|cell| type_of(cell) == Type::Number))
        .collect();
    if labels.len() < 2 {
        return Vec::new();
    }
    let is_header =
        has_own_shape(first, body, &labels, labelled) || is_own_sequence(first, body, &labels, labelled);
    if is_header { labels } else { Vec::new() }
}

/// Digits before the point, and whether there is a point; `None` for what is not a plain number.
fn shape(cell: &[u8]) -> Option<(usize, bool)> {
    let cell = cell.trim_ascii();
    let cell = cell.strip_prefix(b"-").unwrap_or(cell);
    let digits = cell.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = &cell[digits..];
    let fraction = rest.strip_prefix(b".").is_some_and(|f| !f.is_empty() && f.iter().all(u8::is_ascii_digit));
    (rest.is_empty() || fraction).then_some((digits, fraction))
}

/// Whether the names are distinct whole numbers of one length, of four digits or more, and next to no value below is.
fn has_own_shape(first: &[Vec<u8>], body: &[Vec<Vec<u8>>], labels: &[usize], labelled: bool) -> bool {
    let shapes: Vec<_> = labels.iter().map(|index| shape(&first[*index])).collect();
    let Some(Some((digits, false))) = shapes.first().copied() else { return false };
    let distinct: std::collections::HashSet<_> =
        labels.iter().map(|index| first[*index].trim_ascii()).collect();
    if digits < 4
        || labels.len() < if labelled { 2 } else { 3 }
        || shapes.iter().any(|shape| *shape != shapes[0])
        || distinct.len() < labels.len()
    {
        return false;
    }
    let values: Vec<&[u8]> = body
        .iter()
        .flat_map(|row| labels.iter().filter_map(|index| row.get(*index)).map(Vec::as_slice))
        .filter(|cell| type_of(cell) == Type::Number)
        .collect();
    let alike = values.iter().filter(|cell| shape(cell) == shapes[0]).count();
    values.len() >= MIN_BODY_VALUES && alike * 20 <= values.len()
}

fn numbers(row: &[Vec<u8>], labels: &[usize]) -> Option<Vec<f64>> {
    labels.iter().map(|index| std::str::from_utf8(row.get(*index)?).ok()?.trim().parse().ok()).collect()
}

fn is_even(numbers: &[f64]) -> bool {
    let Some(step) = numbers.get(1).map(|second| second - numbers[0]) else { return false };
    step != 0.0 && numbers.windows(2).all(|pair| (pair[1] - pair[0] - step).abs() <= step.abs() * 1e-6)
}

fn is_ascending(numbers: &[f64]) -> bool {
    numbers.windows(2).all(|pair| pair[0] < pair[1])
}

fn is_year(number: f64) -> bool {
    number.fract() == 0.0 && (1800.0..=2200.0).contains(&number)
}

/// Whether the names are a sequence, and next to no row below is one.
fn is_own_sequence(first: &[Vec<u8>], body: &[Vec<Vec<u8>>], labels: &[usize], labelled: bool) -> bool {
    let Some(names) = numbers(first, labels) else { return false };
    let rows: Vec<Vec<f64>> = body.iter().filter_map(|row| numbers(row, labels)).collect();
    let few = |is: &dyn Fn(&[f64]) -> bool| rows.iter().filter(|row| is(row)).count() * 10 <= body.len();
    let years = |row: &[f64]| row.iter().all(|number| is_year(*number));
    let step = names[1] - names[0];
    if is_even(&names) && years(&names) && step.abs() <= 25.0 {
        return few(&years);
    }
    if !labelled {
        // Without a name beside them, numbers above numbers are names only where whole ones stand above fractions.
        let whole = names.iter().all(|number| number.fract() == 0.0);
        let fractions = |row: &[f64]| row.iter().any(|number| number.fract() != 0.0);
        let fractional = rows.iter().filter(|row| fractions(row)).count();
        return names.len() >= 3 && is_even(&names) && whole && fractional * 10 >= body.len().max(1) * 9;
    }
    // From 0 or 1 on, or in steps that begin with themselves: 1, 2, 3; 10, 20, 30; 0, 0.5, 1.
    let natural = names[0] == 0.0 || names[0] == 1.0 || (names[0] - step).abs() <= step.abs() * 1e-6;
    if is_even(&names) && names.len() >= if natural { 3 } else { 4 } {
        return few(&is_even);
    }
    // Bins of growing width.
    names.len() >= 6 && is_ascending(&names) && few(&is_ascending)
}
