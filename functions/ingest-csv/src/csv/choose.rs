//! Choosing delimiter, quote and escape: every combination is scored as a table, the best one wins.

use memchr::memmem;

use super::detect::{SCORED_ROWS, is_marked, mend, modal_width, scan, split, table_rows_width};
use super::dialect::Declared;
use super::header::first_row;
use super::split::{Fields, Splitter};
use super::types::{Type, type_of};

/// Delimiters tried, with how far each is trusted: a blank or a colon is far more often part of a value.
const DELIMITERS: [(&str, f64); 15] = [
    (",", 1.0),
    (";", 1.0),
    ("\t", 1.0),
    ("|", 1.0),
    ("\u{1f}", 1.0),
    ("^", 0.9),
    ("~", 0.9),
    (", ", 1.03),
    ("; ", 1.03),
    (" | ", 1.03),
    ("||", 1.05),
    ("::", 0.95),
    (" ", 0.6),
    (":", 0.5),
    ("#", 0.65),
];

struct Candidate {
    splitter: Splitter,
    delimiter: String,
    score: f64,
}

/// The best delimiter, quote and escape for the text, as far as they are not declared.
pub(super) fn choose(text: &[u8], declared: &Declared) -> (Splitter, String) {
    let delimiters: Vec<(&str, f64)> = match &declared.delimiter {
        Some(delimiter) => vec![(delimiter, 1.0)],
        None => DELIMITERS.into_iter().filter(|(d, _)| memmem::find(text, d.as_bytes()).is_some()).collect(),
    };
    let mut quotes: Vec<(Option<u8>, f64)> = match declared.quote {
        Some(mark) => vec![(mark.byte(), 1.0)],
        None => vec![(Some(b'"'), 1.0)],
    };
    if declared.quote.is_none() {
        if memchr::memchr(b'\'', text).is_some() {
            quotes.push((Some(b'\''), 0.97));
        }
        if memchr::memchr(b'"', text).is_some() {
            quotes.push((None, 0.9));
        }
    }
    let mut best: Option<Candidate> = None;
    for (delimiter, trust) in &delimiters {
        for (quote, quote_trust) in &quotes {
            if quote.is_none() && declared.quote.is_none() && !is_quoting_broken(text, delimiter) {
                continue;
            }
            let escape = escape(text, delimiter, *quote, declared);
            let splitter = Splitter::new(delimiter.as_bytes(), *quote, escape, usize::MAX);
            let score = score(text, &splitter, *trust) * trust * quote_trust;
            if best.as_ref().is_none_or(|b| score > b.score) {
                best = Some(Candidate { splitter, delimiter: (*delimiter).to_owned(), score });
            }
        }
    }
    match best {
        Some(best) if best.score > 0.0 || declared.delimiter.is_some() => (best.splitter, best.delimiter),
        _ => {
            let quote = declared.quote.map_or(Some(b'"'), |mark| mark.byte());
            let escape = escape(text, "", quote, declared);
            (Splitter::new(b"", quote, escape, usize::MAX), String::new())
        }
    }
}

/// Whether quotes read as such break the grammar often enough that they may be plain characters.
fn is_quoting_broken(text: &[u8], delimiter: &str) -> bool {
    let splitter = Splitter::new(delimiter.as_bytes(), Some(b'"'), None, usize::MAX);
    let rows = scan(text, 0, 1, &splitter, None, SCORED_ROWS);
    rows.iter().filter(|row| row.faulty).count() * 10 > rows.len()
}

/// `\` (or NUL) before quotes is the escape only when it makes more lines follow the grammar.
fn escape(text: &[u8], delimiter: &str, quote: Option<u8>, declared: &Declared) -> Option<u8> {
    if let Some(mark) = declared.escape {
        return mark.byte();
    }
    let quote = quote?;
    let sound = |escape| {
        let splitter = Splitter::new(delimiter.as_bytes(), Some(quote), escape, usize::MAX);
        let rows = scan(text, 0, 1, &splitter, None, SCORED_ROWS);
        let width = modal_width(&rows);
        rows.iter().filter(|row| !row.faulty && row.width == width).count()
    };
    let mut best = None;
    for escape in [b'\\', 0] {
        if memmem::find(text, &[escape, quote]).is_some() && sound(Some(escape)) > sound(best) {
            best = Some(escape);
        }
    }
    best
}

/// How much of a table the text is when split this way: 0 for none.
fn score(text: &[u8], splitter: &Splitter, trust: f64) -> f64 {
    let mut rows = scan(text, 0, 1, splitter, None, SCORED_ROWS);
    // A delimiter that is also how comments begin.
    if splitter.is_hash() && rows.iter().any(|row| text.get(row.offset) == Some(&b'#')) {
        return 0.0;
    }
    let width = table_rows_width(text, &rows);
    rows.retain(|row| row.width == width || !is_marked(text, row));
    mend(text, &mut rows, splitter);
    let first = first_row(&rows);
    let rows = &rows[first..];
    let width = modal_width(rows);
    if width < 2 {
        return 0.0;
    }
    let sound = rows.iter().filter(|row| row.width == width && !row.faulty).count();
    let nearly = rows.iter().filter(|row| row.width == width && row.faulty).count();
    let consistency = (sound as f64 + nearly as f64 * 0.75) / rows.len() as f64;
    // A doubtful delimiter needs a table without exceptions, and more than a row or two of it.
    let weak = trust < 0.7;
    if consistency < if weak { 0.9 } else { 0.3 } || (weak && sound < 3) {
        return 0.0;
    }
    let mut fields = Fields::default();
    let (mut values, mut total, mut bare) = (0.0, 0usize, 0usize);
    let mut used = vec![false; width];
    let mut judged = 0usize;
    for row in rows.iter().filter(|row| row.width == width).take(300) {
        let record = &text[row.offset..row.offset + row.len];
        split(record, row, splitter, &mut fields);
        judged += 1;
        for index in 0..fields.spans.len() {
            let Some(cell) = fields.get(record, index) else { continue };
            total += 1;
            if let Some(used) = used.get_mut(index) {
                *used |= !cell.is_empty();
            }
            values += match type_of(cell) {
                Type::Number | Type::Date | Type::Bool => 1.0,
                Type::Empty => 0.85,
                Type::Text => text_value(cell),
            };
            // An inner field that begins with a blank: the blank belongs to the delimiter.
            bare += usize::from(index > 0 && cell.first() == Some(&b' '));
        }
    }
    // A column that not even a header fills is half of a longer delimiter. The last may follow a trailing one.
    let unused = used.iter().rev().skip(1).filter(|used| !**used).count() * judged;
    let value = (values - 0.5 * unused as f64).max(0.0) / total.max(1) as f64;
    let blanks = if bare * 10 > total * 5 { 0.97 } else { 1.0 };
    let span = (width - 1) as f64 / width as f64;
    consistency * consistency.sqrt() * span.sqrt() * value * value * blanks
}

/// How much a text cell looks like one value: other delimiters or quotes left in it speak against the split.
fn text_value(cell: &[u8]) -> f64 {
    let trimmed = cell.trim_ascii();
    let edge = |byte: Option<&u8>| matches!(byte, Some(b'"' | b'\''));
    if edge(trimmed.first()) || edge(trimmed.last()) {
        return 0.3;
    }
    let is_foreign = |byte: u8| matches!(byte, b',' | b';' | b'\t' | b'|' | 0x1f);
    // In prose a blank follows a comma or a semicolon; between glued cells there is none.
    let (mut prose, mut glued) = (false, false);
    for (at, byte) in trimmed.iter().enumerate() {
        if is_foreign(*byte) {
            if trimmed.get(at + 1) == Some(&b' ') { prose = true } else { glued = true }
        }
    }
    match (glued, prose) {
        (false, false) => 0.95,
        (false, true) => 0.85,
        // One in a long text is not much of a sign.
        (true, _) if trimmed.len() > 40 => 0.7,
        (true, _) => 0.4,
    }
}
