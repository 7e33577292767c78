//! The directive `sep=;`, which tells Excel the delimiter of a file.

use crate::line_end::{LineEnd, LineEnds};

/// The directive on the first line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeparatorDirective {
    pub delimiter: String,
    /// Bytes of the line with its line end.
    pub len: usize,
}

/// Reads the directive at the start of `text`, which begins after a byte order mark. Its word may be in any case, and
/// the whole may be quoted. A program that has saved the file again may have put delimiters of empty cells behind it.
pub(crate) fn directive(text: &[u8], line_ends: LineEnds) -> Option<SeparatorDirective> {
    let line_len = line_ends.find(text).unwrap_or(text.len());
    let line = std::str::from_utf8(&text[..line_len]).ok()?;
    let len = match line_ends.at(&text[line_len..], true) {
        LineEnd::Some(end) => line_len + end,
        _ => line_len,
    };
    let value = match line.strip_prefix('"') {
        Some(quoted) => {
            let (value, padding) = strip_word(quoted)?.split_once('"')?;
            if !padding.trim_start_matches(value).trim().is_empty() {
                return None;
            }
            value
        }
        None => strip_word(line)?,
    };
    let value = if value == "\\t" { "\t" } else { value };
    let mut characters = value.chars();
    let first = characters.next()?;
    let is_delimiter = |c: char| !c.is_alphanumeric() && !matches!(c, '"' | '\'');
    if !value.chars().all(is_delimiter) || (value.chars().count() > 4 && !characters.all(|c| c == first)) {
        return None;
    }
    // One character several times is a delimiter of that length only where the next line has it, else padding.
    let next_line = &text[len..];
    let next_line = &next_line[..line_ends.find(next_line).unwrap_or(next_line.len())];
    let repeated = value.chars().all(|c| c == first);
    let is_absent = memchr::memmem::find(next_line, value.as_bytes()).is_none();
    let delimiter = if repeated && (is_absent || value.chars().count() > 2) {
        first.to_string()
    } else {
        value.to_owned()
    };
    Some(SeparatorDirective { delimiter, len })
}

fn strip_word(line: &str) -> Option<&str> {
    let (word, value) = line.split_at_checked(4)?;
    word.eq_ignore_ascii_case("sep=").then_some(value)
}
