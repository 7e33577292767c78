//! Delimiter, quote and escape: every combination is scored as a table, and the best one wins.
//!
//! A candidate scores by how many records follow the grammar at one and the same width, by that width, and by how many
//! cells look like one value (a number, a date, a plain word) rather than several glued together.

use memchr::memmem;

use crate::dialect::Declared;
use crate::header::first_row;
use crate::line_end::LineEnds;
use crate::sample::{
    SCORED_ROWS, SampleRecord, is_marked, modal_width, repair_widths, scan, split_record, table_rows_width,
};
use crate::split::{Fields, RecordSplitter};
use crate::types::{Type, type_of};

/// Delimiters tried, with how far each is trusted. A blank or a colon is far more often part of a value; the two control
/// characters (of Hive and of ASCII) never are.
const DELIMITERS: [(&str, f64); 16] = [
    (",", 1.0),
    (";", 1.0),
    ("\t", 1.0),
    ("|", 1.0),
    ("\u{1}", 1.1),
    ("\u{1f}", 1.1),
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
    splitter: RecordSplitter,
    delimiter: String,
    score: f64,
}

/// The best delimiter, quote and escape for the text, as far as they are not declared.
pub(crate) fn best_candidate(
    text: &[u8],
    line_ends: LineEnds,
    declared: &Declared,
) -> (RecordSplitter, String) {
    let splitter = |delimiter: &str, quote, escape| {
        RecordSplitter::new(delimiter.as_bytes(), quote, escape, usize::MAX).with_line_ends(line_ends)
    };
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
            if quote.is_none()
                && declared.quote.is_none()
                && !is_quoting_broken(text, &splitter(delimiter, Some(b'"'), None))
            {
                continue;
            }
            let escape = escape(text, &splitter(delimiter, *quote, None), declared);
            let splitter = splitter(delimiter, *quote, escape);
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
            let escape = escape(text, &splitter("", quote, None), declared);
            (splitter("", quote, escape), String::new())
        }
    }
}

/// Whether quotes read as such break the grammar often enough that they may be plain characters.
fn is_quoting_broken(text: &[u8], splitter: &RecordSplitter) -> bool {
    let rows = scan(text, 0, 1, splitter, None, SCORED_ROWS);
    rows.iter().filter(|row| row.defective).count() * 10 > rows.len()
}

/// `\` (or NUL) before quotes is the escape only when it makes more lines follow the grammar.
fn escape(text: &[u8], splitter: &RecordSplitter, declared: &Declared) -> Option<u8> {
    if let Some(mark) = declared.escape {
        return mark.byte();
    }
    let quote = splitter.quote?;
    let well_formed = |escape| {
        let splitter = splitter.clone().with_escape(escape);
        let rows = scan(text, 0, 1, &splitter, None, SCORED_ROWS);
        let width = modal_width(&rows);
        rows.iter().filter(|row| !row.defective && row.width == width).count()
    };
    let mut best = None;
    for escape in [b'\\', 0] {
        if memmem::find(text, &[escape, quote]).is_some() && well_formed(Some(escape)) > well_formed(best) {
            best = Some(escape);
        }
    }
    best
}

/// The score of the text as a table when split this way: 0 when it is no table.
fn score(text: &[u8], splitter: &RecordSplitter, trust: f64) -> f64 {
    let mut rows = scan(text, 0, 1, splitter, None, SCORED_ROWS);
    // This delimiter also begins comments.
    if splitter.is_hash() && rows.iter().any(|row| text.get(row.offset) == Some(&b'#')) {
        return 0.0;
    }
    let width = table_rows_width(text, &rows);
    rows.retain(|row| row.width == width || !is_marked(text, row));
    repair_widths(text, &mut rows, splitter);
    let first = first_row(&rows);
    let rows = &rows[first..];
    let width = modal_width(rows);
    if width < 2 {
        return 0.0;
    }
    let regular = rows.iter().filter(|row| row.width == width && !row.defective).count();
    let nearly = rows.iter().filter(|row| row.width == width && row.defective).count();
    let consistency = (regular as f64 + nearly as f64 * 0.75) / rows.len() as f64;
    // A doubtful delimiter needs a table without exceptions, and more than a row or two of it, unless quotes prove it.
    let weak = trust < 0.7;
    let proven = weak && is_proven_by_quotes(text, rows, splitter);
    if proven {
        return 1.0 + consistency;
    }
    if consistency < if weak { 0.9 } else { 0.3 } || (weak && regular < 3) {
        return 0.0;
    }
    let mut fields = Fields::default();
    let (mut values, mut total, mut bare) = (0.0, 0usize, 0usize);
    let mut used = vec![false; width];
    let mut sampled = 0usize;
    for row in rows.iter().filter(|row| row.width == width).take(300) {
        let record = &text[row.offset..row.offset + row.len];
        split_record(record, row, splitter, &mut fields);
        sampled += 1;
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
    let unused = used.iter().rev().skip(1).filter(|used| !**used).count() * sampled;
    let value = (values - 0.5 * unused as f64).max(0.0) / total.max(1) as f64;
    let blanks = if bare * 10 > total * 5 { 0.97 } else { 1.0 };
    let span = (width - 1) as f64 / width as f64;
    consistency * consistency.sqrt() * span.sqrt() * value * value * blanks
}

/// Whether the positions of the quotes fit this delimiter: nearly every record follows the grammar, and
/// most of them quote two fields or more, one of which holds the delimiter. No other delimiter fits such a text.
fn is_proven_by_quotes(text: &[u8], rows: &[SampleRecord], splitter: &RecordSplitter) -> bool {
    let Some(quote) = splitter.quote else { return false };
    let mut fields = Fields::default();
    let (mut well_formed, mut quoted) = (0usize, 0usize);
    for row in rows.iter().filter(|row| !row.defective) {
        well_formed += 1;
        let record = &text[row.offset..row.offset + row.len];
        split_record(record, row, splitter, &mut fields);
        // The fields that begin behind a quote in the record.
        let cells = fields.spans.iter().filter(|span| {
            !span.unescaped && span.start > 0 && record.get(span.start as usize - 1) == Some(&quote)
        });
        let (mut count, mut holds) = (0usize, false);
        for cell in cells {
            count += 1;
            holds |= splitter.is_in(&record[cell.start as usize..cell.end as usize]);
        }
        quoted += usize::from(count >= 2 && holds);
    }
    rows.len() >= 3 && well_formed * 10 >= rows.len() * 9 && quoted * 2 > rows.len()
}

/// How much a text cell looks like one value: other delimiters or quotes left in it speak against the split.
fn text_value(cell: &[u8]) -> f64 {
    let trimmed = cell.trim_ascii();
    let edge = |byte: Option<&u8>| matches!(byte, Some(b'"' | b'\''));
    if edge(trimmed.first()) || edge(trimmed.last()) {
        return 0.3;
    }
    let is_foreign = |byte: u8| matches!(byte, b',' | b';' | b'\t' | b'|' | 0x01 | 0x1f);
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
        // A single occurrence in a long text is weak evidence.
        (true, _) if trimmed.len() > 40 => 0.7,
        (true, _) => 0.4,
    }
}
