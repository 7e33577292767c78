//! Line ends: the bytes between one record and the next.

use memchr::{memchr, memchr_iter, memchr2, memrchr, memrchr2};

use crate::dialect::Terminator;

/// The ASCII record separator.
const RS: u8 = 0x1e;
/// The ASCII unit separator, the delimiter that goes with [`RS`].
const US: u8 = 0x1f;
/// The number of pieces examined in the search for record separators.
const EXAMINED_RECORDS: usize = 1_000;

/// The line ends of this file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineEnds {
    /// `\n`, `\r\n` and `\r`, also mixed.
    Newline,
    /// `1e`, with or without a newline directly after it. Any other newline belongs to the value.
    RecordSeparator,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LineEnd {
    /// A line end of so many bytes.
    Some(usize),
    /// The bytes after these decide how long the line end is.
    NeedMore,
    None,
}

impl LineEnds {
    pub fn of(terminator: Terminator) -> Self {
        match terminator {
            Terminator::Rs => LineEnds::RecordSeparator,
            Terminator::Lf | Terminator::CrLf | Terminator::Cr => LineEnds::Newline,
        }
    }

    /// Record separators end records where they outnumber the other newlines, or where nine of ten records between
    /// them hold the same number of unit separators, and at least one.
    pub fn detect(text: &[u8]) -> Self {
        let separators = memchr_iter(RS, text).count();
        if separators == 0 {
            return LineEnds::Newline;
        }
        let rs = LineEnds::RecordSeparator;
        let newlines = LineEnds::Newline.count(text);
        let after_separator = memchr_iter(RS, text)
            .filter(|at| matches!(text.get(at + 1..), Some([b'\n', ..] | [b'\r', b'\n', ..])))
            .count() as u64;
        if separators as u64 > newlines - after_separator.min(newlines) {
            return rs;
        }
        let mut records: Vec<&[u8]> = text.split(|byte| *byte == RS).take(EXAMINED_RECORDS).collect();
        // The last piece is what follows the last separator, or is not whole.
        records.pop();
        let units = |record: &[u8]| memchr_iter(US, record).count();
        let first = records.first().map_or(0, |record| units(record));
        let equal = records.iter().filter(|record| units(record) == first).count();
        if first > 0 && equal > 1 && equal * 10 >= records.len() * 9 { rs } else { LineEnds::Newline }
    }

    /// Where the first line end begins.
    #[inline]
    pub fn find(self, bytes: &[u8]) -> Option<usize> {
        match self {
            LineEnds::Newline => memchr2(b'\n', b'\r', bytes),
            LineEnds::RecordSeparator => memchr(RS, bytes),
        }
    }

    pub fn find_last(self, bytes: &[u8]) -> Option<usize> {
        match self {
            LineEnds::Newline => memrchr2(b'\n', b'\r', bytes),
            LineEnds::RecordSeparator => memrchr(RS, bytes),
        }
    }

    /// Whether `bytes` begins with a line end. `last`: the input ends where `bytes` ends.
    #[inline]
    pub fn at(self, bytes: &[u8], last: bool) -> LineEnd {
        match (self, bytes) {
            (LineEnds::Newline, [b'\n', ..]) => LineEnd::Some(1),
            (LineEnds::Newline, [b'\r', b'\n', ..]) => LineEnd::Some(2),
            (LineEnds::Newline, [b'\r']) if !last => LineEnd::NeedMore,
            (LineEnds::Newline, [b'\r', ..]) => LineEnd::Some(1),
            (LineEnds::RecordSeparator, [RS, b'\n', ..]) => LineEnd::Some(2),
            (LineEnds::RecordSeparator, [RS, b'\r', b'\n', ..]) => LineEnd::Some(3),
            (LineEnds::RecordSeparator, [RS] | [RS, b'\r']) if !last => LineEnd::NeedMore,
            (LineEnds::RecordSeparator, [RS, ..]) => LineEnd::Some(1),
            _ => LineEnd::None,
        }
    }

    /// How many line ends `bytes` holds; `\r\n` is one.
    #[inline]
    pub fn count(self, bytes: &[u8]) -> u64 {
        if self == LineEnds::RecordSeparator {
            return memchr_iter(RS, bytes).count() as u64;
        }
        let mut count = memchr_iter(b'\n', bytes).count() as u64;
        for at in memchr_iter(b'\r', bytes) {
            if bytes.get(at + 1) != Some(&b'\n') {
                count += 1;
            }
        }
        count
    }

    /// Whether a line of several columns holds nothing but blanks.
    pub fn is_blank(self, line: &[u8]) -> bool {
        let newlines = self == LineEnds::RecordSeparator;
        line.iter().all(|b| matches!(b, b' ' | b'\t') || (newlines && matches!(b, b'\n' | b'\r')))
    }
}
