//! The cheapest reading of one physical line that gives the table's width, for lines that break the grammar.
//!
//! Every field is read in one of these ways, each at a price: as it stands up to the next delimiter, its quotes taken
//! literally (1 for every quote in it, 2 more when it begins with one); or quoted, up to a quote that a delimiter or
//! the end of the line follows (1 for every lone quote inside, 1 for blanks around the quotes). The reading of the right
//! width with the lowest price wins; the leftmost one among equals. A line that no reading brings to the right
//! width cannot be repaired.

use memchr::memchr_iter;

use crate::split::{Fields, RecordSplitter};

/// The repair of the line, named after its most expensive step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// Blanks between a delimiter and a quote were left out.
    BlanksAroundQuotes,
    /// A quote inside a quoted field that was not doubled was kept.
    LoneQuote,
    /// A quote in an unquoted field was kept.
    StrayQuote,
    /// A quote that opens a field and is never closed was kept.
    UnclosedQuote,
}

impl Rule {
    pub fn name(self) -> &'static str {
        match self {
            Rule::BlanksAroundQuotes => "blanks_around_quotes",
            Rule::LoneQuote => "lone_quote",
            Rule::StrayQuote => "stray_quote",
            Rule::UnclosedQuote => "unclosed_quote",
        }
    }
}

/// The maximum number of steps for a line. It bounds the time for a line of thousands of quotes and delimiters.
const MAX_STEPS: usize = 250_000;

#[derive(Debug, Clone, Copy)]
struct RepairStep {
    price: u32,
    /// Index of the field start this field ends before; the line's end is one past the last.
    next: u32,
    /// Opening and closing quote, when the field is read as quoted.
    quotes: Option<(u32, u32)>,
}

/// Reads `line` as `width` fields into `fields`; `None` when that cannot be done.
pub(crate) fn repair(
    splitter: &RecordSplitter,
    line: &[u8],
    width: usize,
    fields: &mut Fields,
) -> Option<Rule> {
    let quote = splitter.quote?;
    let mut delimiters = Vec::new();
    splitter.delimiters(line, &mut delimiters);
    // Field i starts at starts[i]; a quoted field may swallow delimiters, and must swallow `slack` of them in all.
    let slack = (delimiters.len() + 1).checked_sub(width)?;
    let quotes: Vec<usize> = memchr_iter(quote, line).collect();
    let field_starts = delimiters.len() + 1;
    if field_starts.saturating_mul(slack + 1) > MAX_STEPS {
        return None;
    }
    let mut steps = 0usize;
    let start_of = |i: usize| if i == 0 { 0 } else { delimiters[i - 1] + splitter.delimiter_len() };
    let end_of = |i: usize| delimiters.get(i).copied().unwrap_or(line.len());

    // best[i][s]: the cheapest way to read from field start i to the end, swallowing s more delimiters.
    let columns = slack + 1;
    let mut best: Vec<Option<RepairStep>> = vec![None; field_starts * columns];
    for i in (0..field_starts).rev() {
        let start = start_of(i);
        let literal_end = end_of(i);
        let first_quote = quotes.partition_point(|q| *q < start);
        let in_field = quotes.partition_point(|q| *q < literal_end) - first_quote;
        let begins = line.get(start) == Some(&quote);
        let literal = in_field as u32 + if begins { 2 } else { 0 };
        let lead = line[start..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let opening = (quotes.get(first_quote) == Some(&(start + lead))).then_some(first_quote);
        for s in 0..columns {
            let mut chosen: Option<RepairStep> = None;
            let mut offer = |step: RepairStep| {
                if chosen.is_none_or(|c| step.price < c.price) {
                    chosen = Some(step);
                }
            };
            let rest = |next: usize, s: usize| -> Option<u32> {
                if next == field_starts {
                    return (s == 0).then_some(0);
                }
                best[next * columns + s].map(|step| step.price)
            };
            if let Some(opening) = opening {
                let mut lone = 0u32;
                let mut k = opening + 1;
                while k < quotes.len() {
                    steps += 1;
                    if steps > MAX_STEPS {
                        return None;
                    }
                    let at = quotes[k];
                    if quotes.get(k + 1) == Some(&(at + 1)) && !closes(splitter, line, at) {
                        k += 2;
                        continue;
                    }
                    // The field this quote would end in, and how many delimiters lie before it.
                    let j = delimiters.partition_point(|d| *d <= at);
                    let swallowed = j - i;
                    if swallowed > s {
                        break;
                    }
                    let blanks = end_of(j) - at - 1;
                    if line[at + 1..end_of(j)].iter().all(|b| matches!(b, b' ' | b'\t'))
                        && let Some(after) = rest(j + 1, s - swallowed)
                    {
                        let price = after + lone + u32::from(lead > 0) + u32::from(blanks > 0);
                        let quotes = Some((quotes[opening] as u32, at as u32));
                        offer(RepairStep { price, next: j as u32 + 1, quotes });
                    }
                    lone += 1;
                    k += 1;
                }
            }
            if let Some(after) = rest(i + 1, s) {
                offer(RepairStep { price: literal + after, next: i as u32 + 1, quotes: None });
            }
            best[i * columns + s] = chosen;
        }
    }

    fields.clear();
    let mut rule = Rule::BlanksAroundQuotes;
    let (mut i, mut s) = (0, slack);
    while i < field_starts {
        let step = best[i * columns + s]?;
        let next = step.next as usize;
        let (start, end) = (start_of(i), end_of(next - 1));
        match step.quotes {
            None => {
                if line.get(start) == Some(&quote) {
                    rule = rule.max(Rule::UnclosedQuote);
                } else if memchr::memchr(quote, &line[start..end]).is_some() {
                    rule = rule.max(Rule::StrayQuote);
                }
                fields.push(start, end, false, width);
            }
            Some((open, close)) => {
                if unquote(&line[open as usize + 1..close as usize], quote, splitter.escape, fields, width) {
                    rule = rule.max(Rule::LoneQuote);
                }
            }
        }
        s -= next - 1 - i;
        i = next;
    }
    Some(rule)
}

/// Whether a delimiter or the end of the line follows the quote at `at` directly.
fn closes(splitter: &RecordSplitter, line: &[u8], at: usize) -> bool {
    let after = &line[at + 1..];
    after.is_empty() || splitter.starts_with_delimiter(after)
}

/// Adds the content of a quoted field, doubled and escaped quotes undone; says whether a lone quote was kept.
fn unquote(content: &[u8], quote: u8, escape: Option<u8>, fields: &mut Fields, max: usize) -> bool {
    let start = fields.scratch.len();
    let mut lone = false;
    let mut bytes = content.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if Some(byte) == escape
            && let Some(next) = bytes.next()
        {
            fields.scratch.push(next);
            continue;
        }
        fields.scratch.push(byte);
        if byte == quote && bytes.next_if_eq(&quote).is_none() {
            lone = true;
        }
    }
    fields.push(start, fields.scratch.len(), true, max);
    lone
}
