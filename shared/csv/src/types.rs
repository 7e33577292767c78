//! The types of cells: the evidence for a delimiter and for a header.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Empty,
    Number,
    /// A date, a time or both.
    Date,
    Bool,
    Text,
}

/// Types a cell. Cells over 64 bytes are text: no number or date is that long.
pub(crate) fn type_of(cell: &[u8]) -> Type {
    let cell = cell.trim_ascii();
    if cell.is_empty() {
        return Type::Empty;
    }
    if cell.len() > 64 {
        return Type::Text;
    }
    const MISSING: [&str; 9] = ["na", "n/a", "null", "none", "nan", "\\n", "-", "--", "?"];
    if MISSING.iter().any(|word| cell.eq_ignore_ascii_case(word.as_bytes())) {
        return Type::Empty;
    }
    if [&b"true"[..], b"false", b"yes", b"no"].iter().any(|word| cell.eq_ignore_ascii_case(word)) {
        return Type::Bool;
    }
    if is_number(cell) {
        Type::Number
    } else if is_date(cell) {
        Type::Date
    } else {
        Type::Text
    }
}

/// `-1,234.5e6`, `$3.20`, `12 %`, `(40)`; at least one digit and nothing but the signs that go with numbers.
fn is_number(cell: &[u8]) -> bool {
    let mut digits = 0;
    for (at, byte) in cell.iter().enumerate() {
        match byte {
            b'0'..=b'9' => digits += 1,
            b'.' | b',' => {}
            b'+' | b'-' => {
                if at > 0 && !matches!(cell[at - 1], b'e' | b'E' | b'$' | b'(') {
                    return false;
                }
            }
            b'$' | b'(' if digits == 0 => {}
            b'%' | b')' if at + 1 == cell.len() => {}
            b' ' if cell.last() == Some(&b'%') => {}
            b'e' | b'E' if digits > 0 && at + 1 < cell.len() => {}
            // The pound and euro signs, and a narrow space between groups.
            0xc2 | 0xa3 | 0xe2 | 0x82 | 0xac | 0xa0 => {}
            _ => return false,
        }
    }
    digits > 0
}

/// Digits in two to seven groups between the signs that dates and times are written with.
fn is_date(cell: &[u8]) -> bool {
    let (mut digits, mut signs, mut letters, mut dots) = (0, 0, 0, 0);
    for byte in cell {
        match byte {
            b'0'..=b'9' => digits += 1,
            b'-' | b'/' | b':' => signs += 1,
            b'.' => dots += 1,
            b' ' | b'+' | b',' => {}
            letter if letter.is_ascii_alphabetic() => letters += 1,
            _ => return false,
        }
    }
    if letters > 0 {
        // 2024-01-02T03:04:05Z, 3:15 PM, 12-Jan-2024, Jan 5 2024.
        let months =
            [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
        let named = cell.windows(3).any(|w| months.iter().any(|month| w.eq_ignore_ascii_case(*month)));
        let enough = if named { letters <= 9 } else { letters <= 3 && signs >= 1 };
        return enough && digits >= 3 && (named || cell[0].is_ascii_digit()) && digits + signs >= letters;
    }
    (3..=24).contains(&digits) && (signs >= 1 || dots >= 2) && signs <= 7 && cell[0].is_ascii_digit()
}
