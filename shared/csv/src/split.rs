//! Splits one record into fields, strictly: the grammar of RFC 4180 for any delimiter, quote and escape.
//!
//! A record either follows the grammar or the first defect in it is named; nothing is guessed here. Positions are
//! 32-bit because a record is never longer than [`CsvLimits::max_record_bytes`](crate::CsvLimits), which is capped.

use memchr::{memchr, memchr_iter, memchr2, memmem};

use crate::dialect::Dialect;
use crate::line_end::{LineEnd, LineEnds};

/// Where the bytes of a field are: in the record itself, or in the scratch buffer when quotes had to be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FieldSpan {
    pub start: u32,
    pub end: u32,
    pub unescaped: bool,
}

/// The fields of one record, reused from record to record.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    pub spans: Vec<FieldSpan>,
    /// Fields whose escapes were undone, one after the other.
    pub scratch: Vec<u8>,
    /// How many fields the record has; `spans` stops at the limit given to the splitter.
    pub count: usize,
}

impl Fields {
    pub fn clear(&mut self) {
        self.spans.clear();
        self.scratch.clear();
        self.count = 0;
    }

    pub fn get<'a>(&'a self, record: &'a [u8], index: usize) -> Option<&'a [u8]> {
        let span = self.spans.get(index)?;
        let bytes = if span.unescaped { &self.scratch } else { record };
        bytes.get(span.start as usize..span.end as usize)
    }

    pub fn push(&mut self, start: usize, end: usize, unescaped: bool, max: usize) {
        self.count += 1;
        if self.spans.len() < max {
            self.spans.push(FieldSpan { start: start as u32, end: end as u32, unescaped });
        }
    }
}

/// The defect of a record that violates the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QuoteDefect {
    /// A quote inside a field that does not begin with one.
    StrayQuote,
    /// Something other than a delimiter or a line end after a closing quote.
    TextAfterQuote,
    /// The input, or the longest allowed record, ends inside quotes.
    Unclosed,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SplitOutcome {
    /// The record's bytes without and with its line end.
    Complete {
        len: usize,
        with_end: usize,
    },
    /// The bytes end before the record does.
    NeedMore,
    Defect(QuoteDefect),
}

#[derive(Debug, Clone)]
enum Delimiter {
    Byte(u8),
    Bytes(Box<memmem::Finder<'static>>),
}

/// A dialect prepared for splitting.
#[derive(Debug, Clone)]
pub(crate) struct RecordSplitter {
    delimiter: Delimiter,
    pub quote: Option<u8>,
    /// `None`: a quote inside quotes is doubled.
    pub escape: Option<u8>,
    /// Fields beyond this many are counted, not kept.
    max_fields: usize,
    pub line_ends: LineEnds,
}

impl RecordSplitter {
    pub fn new(delimiter: &[u8], quote: Option<u8>, escape: Option<u8>, max_fields: usize) -> Self {
        let delimiter = match delimiter {
            [byte] => Delimiter::Byte(*byte),
            bytes => Delimiter::Bytes(Box::new(memmem::Finder::new(bytes).into_owned())),
        };
        RecordSplitter { delimiter, quote, escape, max_fields, line_ends: LineEnds::Newline }
    }

    pub fn with_line_ends(mut self, line_ends: LineEnds) -> Self {
        self.line_ends = line_ends;
        self
    }

    pub fn with_escape(mut self, escape: Option<u8>) -> Self {
        self.escape = escape;
        self
    }

    pub fn of(dialect: &Dialect, max_fields: usize) -> Self {
        RecordSplitter::new(dialect.delimiter.as_bytes(), dialect.quote, dialect.escape, max_fields)
            .with_line_ends(LineEnds::of(dialect.terminator))
    }

    pub fn delimiter_len(&self) -> usize {
        match &self.delimiter {
            Delimiter::Byte(_) => 1,
            Delimiter::Bytes(finder) => finder.needle().len(),
        }
    }

    /// Whether blanks are, or are part of, the delimiter: a line of blanks is then not an empty one.
    pub fn splits_blanks(&self) -> bool {
        match &self.delimiter {
            Delimiter::Byte(byte) => matches!(byte, b' ' | b'\t'),
            Delimiter::Bytes(finder) => finder.needle().iter().any(|byte| matches!(byte, b' ' | b'\t')),
        }
    }

    /// Whether the delimiter occurs in `bytes`.
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        self.find(bytes).is_some()
    }

    pub fn is_hash(&self) -> bool {
        matches!(self.delimiter, Delimiter::Byte(b'#'))
    }

    fn find(&self, bytes: &[u8]) -> Option<usize> {
        match &self.delimiter {
            Delimiter::Byte(byte) => memchr(*byte, bytes),
            // An empty delimiter (a table of one column) is found nowhere.
            Delimiter::Bytes(finder) if finder.needle().is_empty() => None,
            Delimiter::Bytes(finder) => finder.find(bytes),
        }
    }

    pub fn starts_with_delimiter(&self, bytes: &[u8]) -> bool {
        match &self.delimiter {
            Delimiter::Byte(byte) => bytes.first() == Some(byte),
            Delimiter::Bytes(finder) => !finder.needle().is_empty() && bytes.starts_with(finder.needle()),
        }
    }

    /// Where each delimiter of a line begins.
    pub fn delimiters(&self, line: &[u8], found: &mut Vec<usize>) {
        found.clear();
        match &self.delimiter {
            Delimiter::Byte(byte) => found.extend(memchr_iter(*byte, line)),
            Delimiter::Bytes(finder) if finder.needle().is_empty() => {}
            Delimiter::Bytes(finder) => found.extend(finder.find_iter(line)),
        }
    }

    /// Splits a line in which no quote has a meaning.
    pub fn plain(&self, line: &[u8], fields: &mut Fields) {
        fields.clear();
        let mut start = 0;
        match &self.delimiter {
            Delimiter::Byte(byte) => {
                for end in memchr_iter(*byte, line) {
                    fields.push(start, end, false, self.max_fields);
                    start = end + 1;
                }
            }
            Delimiter::Bytes(_) => {
                while let Some(at) = self.find(&line[start..]) {
                    fields.push(start, start + at, false, self.max_fields);
                    start += at + self.delimiter_len();
                }
            }
        }
        fields.push(start, line.len(), false, self.max_fields);
    }

    /// Splits a line that breaks the grammar by guess: a quote opens a field only at its start and closes it only before a
    /// delimiter or the line's end; every other quote is a character. Quotes inside are left as they are.
    pub fn lenient(&self, line: &[u8], fields: &mut Fields) {
        fields.clear();
        let mut start = 0;
        loop {
            if let Some(end) = self.lenient_close(line, start) {
                fields.push(start + 1, end, false, self.max_fields);
                if end + 1 >= line.len() {
                    return;
                }
                start = end + 1 + self.delimiter_len();
                continue;
            }
            let Some(len) = self.find(&line[start..]) else { break };
            fields.push(start, start + len, false, self.max_fields);
            start += len + self.delimiter_len();
        }
        fields.push(start, line.len(), false, self.max_fields);
    }

    /// The quote that closes the field at `start`, if one opens it.
    fn lenient_close(&self, line: &[u8], start: usize) -> Option<usize> {
        let quote = self.quote?;
        if line.get(start) != Some(&quote) {
            return None;
        }
        memchr_iter(quote, &line[start + 1..]).map(|at| start + 1 + at).find(|at| {
            let after = &line[at + 1..];
            after.is_empty() || self.starts_with_delimiter(after)
        })
    }

    /// Splits the record at the start of `bytes`, over as many lines as its quotes span. `last`: the input ends where
    /// `bytes` ends.
    pub fn strict(&self, bytes: &[u8], last: bool, fields: &mut Fields) -> SplitOutcome {
        fields.clear();
        let mut at = 0;
        loop {
            if self.quote.is_some() && bytes.get(at).copied() == self.quote {
                match self.quoted(bytes, at, last, fields) {
                    Ok(end) => at = end,
                    Err(outcome) => return outcome,
                }
                let rest = &bytes[at..];
                if rest.is_empty() {
                    if !last {
                        return SplitOutcome::NeedMore;
                    }
                    return SplitOutcome::Complete { len: at, with_end: at };
                }
                if self.starts_with_delimiter(rest) {
                    at += self.delimiter_len();
                    continue;
                }
                if !last && rest.len() < self.delimiter_len() {
                    return SplitOutcome::NeedMore;
                }
                return match self.line_ends.at(rest, last) {
                    LineEnd::Some(len) => SplitOutcome::Complete { len: at, with_end: at + len },
                    LineEnd::NeedMore => SplitOutcome::NeedMore,
                    LineEnd::None => SplitOutcome::Defect(QuoteDefect::TextAfterQuote),
                };
            }
            // An unquoted field: up to the delimiter or the line end, whichever is first.
            let rest = &bytes[at..];
            let line_len = self.line_ends.find(rest);
            let line = &rest[..line_len.unwrap_or(rest.len())];
            let delimiter = self.find(line);
            let field = &line[..delimiter.unwrap_or(line.len())];
            if let Some(quote) = self.quote
                && memchr(quote, field).is_some()
            {
                return SplitOutcome::Defect(QuoteDefect::StrayQuote);
            }
            match (delimiter, line_len) {
                (Some(len), _) => {
                    fields.push(at, at + len, false, self.max_fields);
                    at += len + self.delimiter_len();
                }
                (None, None) if !last => return SplitOutcome::NeedMore,
                (None, None) => {
                    fields.push(at, bytes.len(), false, self.max_fields);
                    return SplitOutcome::Complete { len: bytes.len(), with_end: bytes.len() };
                }
                (None, Some(len)) => {
                    let end = at + len;
                    return match self.line_ends.at(&bytes[end..], last) {
                        LineEnd::Some(with) => {
                            fields.push(at, end, false, self.max_fields);
                            SplitOutcome::Complete { len: end, with_end: end + with }
                        }
                        _ => SplitOutcome::NeedMore,
                    };
                }
            }
        }
    }

    /// Reads the quoted field that begins at `start`; returns where the bytes after its closing quote begin.
    fn quoted(
        &self,
        bytes: &[u8],
        start: usize,
        last: bool,
        fields: &mut Fields,
    ) -> Result<usize, SplitOutcome> {
        let quote = self.quote.unwrap_or(b'"');
        let escape = self.escape.unwrap_or(quote);
        let unfinished =
            if last { SplitOutcome::Defect(QuoteDefect::Unclosed) } else { SplitOutcome::NeedMore };
        let mut at = start + 1;
        let mut copied_to = at;
        let scratch_start = fields.scratch.len();
        loop {
            let found = if escape == quote {
                memchr(quote, &bytes[at..])
            } else {
                memchr2(quote, escape, &bytes[at..])
            };
            let Some(found) = found else { return Err(unfinished) };
            let mark = at + found;
            if bytes[mark] != quote {
                // An escape: the byte after it is literal.
                let Some(_) = bytes.get(mark + 1) else { return Err(unfinished) };
                fields.scratch.extend_from_slice(&bytes[copied_to..mark]);
                copied_to = mark + 1;
                at = mark + 2;
                continue;
            }
            match bytes.get(mark + 1) {
                None if !last => return Err(SplitOutcome::NeedMore),
                Some(next) if *next == quote => {
                    fields.scratch.extend_from_slice(&bytes[copied_to..=mark]);
                    copied_to = mark + 2;
                    at = mark + 2;
                }
                _ => {
                    if copied_to == start + 1 {
                        fields.push(start + 1, mark, false, self.max_fields);
                    } else {
                        fields.scratch.extend_from_slice(&bytes[copied_to..mark]);
                        fields.push(scratch_start, fields.scratch.len(), true, self.max_fields);
                    }
                    return Ok(mark + 1);
                }
            }
        }
    }
}
