//! One pass over a JSON text.

use std::fmt;
use std::ops::Range;

use crate::limits::{MAX_DEPTH, MAX_EXPONENT, MAX_FRACTION_DIGITS, MAX_INTEGER_DIGITS};

/// Valid JSON that jsonb rejects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefectKind {
    /// `\u0000`
    Nul,
    /// An unpaired surrogate: `\ud800` alone.
    LoneSurrogate,
    /// More digits than numeric allows, or an exponent above [`MAX_EXPONENT`].
    Number,
    /// Deeper than [`MAX_DEPTH`].
    Depth,
}

impl DefectKind {
    /// Whether it can be replaced by U+FFFD.
    pub fn is_character(self) -> bool {
        matches!(self, DefectKind::Nul | DefectKind::LoneSurrogate)
    }
}

/// Something that jsonb rejects, and its position in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonDefect {
    pub kind: DefectKind,
    pub offset: usize,
}

/// The position of a value in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonValue {
    pub range: Range<usize>,
    /// The first defect in it.
    pub defect: Option<JsonDefect>,
    /// The first defect that is not a character.
    pub fatal: Option<JsonDefect>,
}

/// The text is not JSON. The error does not quote the text, which may contain a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyntaxError {
    pub offset: usize,
    pub reason: &'static str,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.reason, self.offset)
    }
}

impl std::error::Error for SyntaxError {}

type Result<T> = std::result::Result<T, SyntaxError>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Array,
    Object,
}

/// Reads a text value by value. It does not recurse, so that a level of nesting costs one byte of memory.
///
/// The text should be UTF-8. Other bytes are accepted inside strings and are syntax errors outside them.
#[derive(Debug)]
pub struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
    nesting: Vec<Container>,
    defect: Option<JsonDefect>,
    fatal: Option<JsonDefect>,
}

impl<'t> Scanner<'t> {
    pub fn new(text: &'t [u8]) -> Self {
        Scanner { text, at: 0, nesting: Vec::new(), defect: None, fatal: None }
    }

    /// Begins at byte `at` of `text`. The bytes before it are ignored.
    pub fn starting_at(text: &'t [u8], at: usize) -> Self {
        Scanner { at: at.min(text.len()), ..Scanner::new(text) }
    }

    /// The next byte after whitespace.
    pub fn peek(&mut self) -> Option<u8> {
        self.skip_blanks();
        self.text.get(self.at).copied()
    }

    /// Enters an array. Returns `false` if the next value is not an array.
    pub fn enter_array(&mut self) -> bool {
        self.take(b'[')
    }

    /// Enters an object. Returns `false` if the next value is not an object.
    pub fn enter_object(&mut self) -> bool {
        self.take(b'{')
    }

    /// Whether the entered array has another element. Otherwise the array has ended. `first` is true for the first element.
    pub fn has_element(&mut self, first: bool) -> Result<bool> {
        if self.take(b']') {
            return Ok(false);
        }
        if first || self.take(b',') {
            return Ok(true);
        }
        Err(self.unexpected("`,` or `]` was expected"))
    }

    /// Reads the next key of the entered object, and the `:` after it. Returns the text between its quotes, or `None` if the
    /// object has ended. `first` is true for the first key.
    pub fn key(&mut self, first: bool) -> Result<Option<&'t [u8]>> {
        if self.take(b'}') {
            return Ok(None);
        }
        if !first && !self.take(b',') {
            return Err(self.unexpected("`,` or `}` was expected"));
        }
        let range = self.member_name()?;
        Ok(Some(&self.text[range]))
    }

    /// Reads one value.
    pub fn value(&mut self) -> Result<JsonValue> {
        self.skip_blanks();
        let start = self.at;
        self.nesting.clear();
        (self.defect, self.fatal) = (None, None);
        loop {
            if self.begin_value()? && !self.leave_values()? {
                return Ok(JsonValue { range: start..self.at, defect: self.defect, fatal: self.fatal });
            }
        }
    }

    /// Checks that only whitespace follows.
    pub fn end(&mut self) -> Result<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.error("there is more after the value")),
        }
    }

    /// Reads a scalar or an empty container and returns `true`, or enters a container up to its first value.
    fn begin_value(&mut self) -> Result<bool> {
        let next = self.peek();
        let start = self.at;
        match next {
            Some(b'"') => self.string()?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b'{') => {
                self.at += 1;
                self.check_depth(start);
                if !self.take(b'}') {
                    self.nesting.push(Container::Object);
                    self.member_name()?;
                    return Ok(false);
                }
            }
            Some(b'[') => {
                self.at += 1;
                self.check_depth(start);
                if !self.take(b']') {
                    self.nesting.push(Container::Array);
                    return Ok(false);
                }
            }
            Some(b't') => self.word(b"true")?,
            Some(b'f') => self.word(b"false")?,
            Some(b'n') => self.word(b"null")?,
            _ => return Err(self.unexpected("a value was expected")),
        }
        Ok(true)
    }

    /// Leaves the containers that end after a value. Returns `true` if another value follows.
    fn leave_values(&mut self) -> Result<bool> {
        while let Some(container) = self.nesting.last().copied() {
            let next = self.peek();
            match (container, next) {
                (Container::Array, Some(b']')) | (Container::Object, Some(b'}')) => {
                    self.at += 1;
                    self.nesting.pop();
                }
                (Container::Array, Some(b',')) => {
                    self.at += 1;
                    return Ok(true);
                }
                (Container::Object, Some(b',')) => {
                    self.at += 1;
                    self.member_name()?;
                    return Ok(true);
                }
                (Container::Array, _) => return Err(self.unexpected("`,` or `]` was expected")),
                (Container::Object, _) => return Err(self.unexpected("`,` or `}` was expected")),
            }
        }
        Ok(false)
    }

    /// Checks the depth of a container that opens at `offset`.
    fn check_depth(&mut self, offset: usize) {
        if self.nesting.len() >= MAX_DEPTH {
            self.note(DefectKind::Depth, offset);
        }
    }

    fn note(&mut self, kind: DefectKind, offset: usize) {
        let defect = JsonDefect { kind, offset };
        self.defect.get_or_insert(defect);
        if !kind.is_character() {
            self.fatal.get_or_insert(defect);
        }
    }

    /// Reads `"name" :` and returns the text between the quotes.
    fn member_name(&mut self) -> Result<Range<usize>> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a key in double quotes was expected"));
        }
        let start = self.at + 1;
        self.string()?;
        let end = self.at - 1;
        if !self.take(b':') {
            return Err(self.unexpected("`:` was expected"));
        }
        Ok(start..end)
    }

    fn string(&mut self) -> Result<()> {
        self.at += 1;
        loop {
            self.at += plain_length(&self.text[self.at..]);
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.error("a control character that is not escaped")),
                None => return Err(self.error("a string that does not end")),
            }
        }
    }

    fn escape(&mut self) -> Result<()> {
        let start = self.at;
        match self.text.get(start + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let unit =
                    code_unit(self.text, start).ok_or_else(|| self.error("`\\u` without four hex digits"))?;
                self.at += 6;
                match unit {
                    0 => self.note(DefectKind::Nul, start),
                    0xd800..0xdc00 if matches!(code_unit(self.text, self.at), Some(0xdc00..0xe000)) => {
                        self.at += 6;
                    }
                    0xd800..0xe000 => self.note(DefectKind::LoneSurrogate, start),
                    _ => {}
                }
            }
            _ => return Err(self.error("an escape that JSON does not have")),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<()> {
        let start = self.at;
        if self.text[self.at] == b'-' {
            self.at += 1;
        }
        let leading_zero = self.text.get(self.at) == Some(&b'0');
        let integer = self.digits()?;
        if leading_zero && integer > 1 {
            return Err(SyntaxError { offset: start, reason: "a number that begins with 0" });
        }
        let mut fraction = 0;
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            fraction = self.digits()?;
        }
        let mut exponent = 0;
        if matches!(self.text.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            let negative = self.text.get(self.at) == Some(&b'-');
            if matches!(self.text.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            let digits_at = self.at;
            self.digits()?;
            exponent = self.text[digits_at..self.at]
                .iter()
                .fold(0_i64, |sum, digit| sum.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
            if negative {
                exponent = -exponent;
            }
        }
        if exponent.abs() > MAX_EXPONENT
            || integer + exponent > MAX_INTEGER_DIGITS
            || fraction - exponent > MAX_FRACTION_DIGITS
        {
            self.note(DefectKind::Number, start);
        }
        Ok(())
    }

    /// Reads at least one digit, and returns the number of digits.
    fn digits(&mut self) -> Result<i64> {
        let count = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 {
            return Err(self.unexpected("a digit was expected"));
        }
        Ok(i64::try_from(count).unwrap_or(i64::MAX / 2))
    }

    fn word(&mut self, word: &[u8]) -> Result<()> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.error("a value was expected"));
        }
        self.at += word.len();
        Ok(())
    }

    fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    fn error(&self, reason: &'static str) -> SyntaxError {
        SyntaxError { offset: self.at, reason }
    }

    /// The error `reason`, or that the text ends too early.
    fn unexpected(&self, reason: &'static str) -> SyntaxError {
        self.error(if self.at >= self.text.len() { "the text ends before its value does" } else { reason })
    }
}

/// The UTF-16 code unit of the `\uXXXX` at `at`.
pub(crate) fn code_unit(text: &[u8], at: usize) -> Option<u16> {
    let [b'\\', b'u', digits @ ..] = text.get(at..at + 6)? else { return None };
    digits.iter().try_fold(0_u16, |unit, &digit| {
        let digit = char::from(digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(digit).ok()?)
    })
}

/// The number of bytes before the next quote, backslash or control character. Checks eight bytes at a time, because strings are
/// most of a body.
fn plain_length(text: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let mut length = 0;
    for word in text.chunks_exact(8) {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(word);
        let word = u64::from_le_bytes(bytes);
        // The high bit of a byte is set if the byte is less than a space, or if the exclusive or makes it zero. A borrow can also
        // set it in a later byte, but only the first one counts.
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let quote = word ^ (ONES * u64::from(b'"'));
        let quote = quote.wrapping_sub(ONES) & !quote;
        let backslash = word ^ (ONES * u64::from(b'\\'));
        let backslash = backslash.wrapping_sub(ONES) & !backslash;
        let found = (control | quote | backslash) & HIGH;
        if found != 0 {
            return length + found.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    let rest = &text[length..];
    length + rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\').unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{is_json, is_number};

    fn scan(text: &str) -> Result<JsonValue> {
        let mut scanner = Scanner::new(text.as_bytes());
        let value = scanner.value()?;
        scanner.end()?;
        Ok(value)
    }

    fn defect(text: &str) -> Option<(DefectKind, usize)> {
        scan(text).expect(text).defect.map(|defect| (defect.kind, defect.offset))
    }

    #[test]
    fn what_is_no_json_is_refused_at_its_place() {
        for (text, offset) in [
            ("", 0),
            ("  ", 2),
            ("{", 1),
            ("{\"a\"", 4),
            ("{\"a\":", 5),
            ("{\"a\":1", 6),
            ("{\"a\":1,}", 7),
            ("{a:1}", 1),
            ("[1,]", 3),
            ("[1 2]", 3),
            ("[1}", 2),
            ("{\"a\":1]", 6),
            ("{}}", 2),
            ("1 2", 2),
            ("nul", 0),
            ("nulll", 4),
            ("NaN", 0),
            ("Infinity", 0),
            ("-", 1),
            ("01", 0),
            ("-01", 0),
            ("1.", 2),
            (".5", 0),
            ("+1", 0),
            ("1e", 2),
            ("1e+", 3),
            ("0x1", 1),
            ("'a'", 0),
            ("\"a", 2),
            ("\"a\nb\"", 2),
            ("\"\0\"", 1),
            ("\"\\x\"", 1),
            ("\"\\u12\"", 1),
            ("\"\\u12g4\"", 1),
            ("\"\\", 1),
            ("\u{feff}{}", 0),
            ("// a\n1", 0),
            ("\u{a0}1", 0),
        ] {
            assert_eq!(scan(text).expect_err(text).offset, offset, "{text}");
        }
    }

    #[test]
    fn what_jsonb_refuses_is_found_at_its_place() {
        for (text, expected) in [
            (r#""\u0000""#, Some((DefectKind::Nul, 1))),
            (r#"{"a\u0000":1}"#, Some((DefectKind::Nul, 3))),
            (r#""\\u0000""#, None),
            (r#""\u00000""#, Some((DefectKind::Nul, 1))),
            (r#""\ud800""#, Some((DefectKind::LoneSurrogate, 1))),
            (r#""\uDFFF""#, Some((DefectKind::LoneSurrogate, 1))),
            (r#""a\ud83d\ude00""#, None),
            (r#""a\ud83dx\ude00""#, Some((DefectKind::LoneSurrogate, 2))),
            (r#""\ud83d\ud83d\ude00""#, Some((DefectKind::LoneSurrogate, 1))),
            (r#""\ude00\ud83d""#, Some((DefectKind::LoneSurrogate, 1))),
            (r#""\ud83d\u0000""#, Some((DefectKind::LoneSurrogate, 1))),
            ("[1e400,1E-400,1e+400]", None),
            ("[0,1e401]", Some((DefectKind::Number, 3))),
            ("-1e-401", Some((DefectKind::Number, 0))),
            ("1e131072", Some((DefectKind::Number, 0))),
            ("1e99999999999999999999999", Some((DefectKind::Number, 0))),
        ] {
            assert_eq!(defect(text), expected, "{text}");
        }
    }

    #[test]
    fn numbers_have_as_many_digits_as_numeric() {
        let digits = |count: i64| "1".repeat(usize::try_from(count).unwrap());
        assert_eq!(defect(&digits(MAX_INTEGER_DIGITS)), None);
        assert_eq!(defect(&digits(MAX_INTEGER_DIGITS + 1)), Some((DefectKind::Number, 0)));
        assert_eq!(defect(&format!("{}e1", digits(MAX_INTEGER_DIGITS))), Some((DefectKind::Number, 0)));
        assert_eq!(defect(&format!("0.{}", digits(MAX_FRACTION_DIGITS))), None);
        assert_eq!(defect(&format!("0.{}", digits(MAX_FRACTION_DIGITS + 1))), Some((DefectKind::Number, 0)));
        assert_eq!(defect(&format!("0.{}e-1", digits(MAX_FRACTION_DIGITS))), Some((DefectKind::Number, 0)));
    }

    #[test]
    fn depth_is_bounded_and_costs_no_stack() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(defect(&nested(MAX_DEPTH)), None);
        assert_eq!(defect(&nested(MAX_DEPTH + 1)), Some((DefectKind::Depth, MAX_DEPTH)));
        assert_eq!(defect(&nested(3_000_000)), Some((DefectKind::Depth, MAX_DEPTH)));
        let objects = |depth: usize| format!("{}1{}", r#"{"":"#.repeat(depth), "}".repeat(depth));
        assert_eq!(defect(&objects(MAX_DEPTH)), None);
        assert_eq!(defect(&objects(MAX_DEPTH + 1)), Some((DefectKind::Depth, 4 * MAX_DEPTH)));
        assert!(scan(&"[".repeat(1_000_000)).is_err());
    }

    #[test]
    fn a_defect_that_is_no_character_is_kept_apart() {
        let value = scan(r#"["\u0000",1e999]"#).unwrap();
        assert_eq!(value.defect, Some(JsonDefect { kind: DefectKind::Nul, offset: 2 }));
        assert_eq!(value.fatal, Some(JsonDefect { kind: DefectKind::Number, offset: 10 }));
    }

    #[test]
    fn arrays_and_objects_can_be_walked() {
        let mut scanner = Scanner::new(br#" { "a" : [ 1 , "x" ] , "b" : {} } "#);
        assert!(scanner.enter_object());
        assert_eq!(scanner.key(true), Ok(Some(&b"a"[..])));
        assert!(scanner.enter_array());
        let mut first = true;
        let mut ranges = Vec::new();
        while scanner.has_element(first).unwrap() {
            first = false;
            ranges.push(scanner.value().unwrap().range);
        }
        assert_eq!(ranges, [11..12, 15..18]);
        assert_eq!(scanner.key(false), Ok(Some(&b"b"[..])));
        assert_eq!(scanner.value().unwrap().range, 29..31);
        assert_eq!(scanner.key(false), Ok(None));
        assert_eq!(scanner.end(), Ok(()));

        let mut trailing = Scanner::new(b"[1,]");
        assert!(trailing.enter_array() && trailing.has_element(true).unwrap());
        trailing.value().unwrap();
        assert!(trailing.has_element(false).unwrap());
        assert!(trailing.value().is_err());
    }

    #[test]
    fn a_number_is_nothing_but_a_number() {
        for good in ["0", "-1.50", "1e5", "12345678901234567890123"] {
            assert!(is_number(good.as_bytes()), "{good}");
        }
        for bad in ["", "007", "1,5", "NaN", " 1", "1 ", "0x1", "1e401", "+1", "\"1\"", "[1]", "1\n"] {
            assert!(!is_number(bad.as_bytes()), "{bad}");
        }
        assert!(is_json(b" [1] \n") && !is_json(b"[1]]") && !is_json(br#""\u0000""#));
    }

    /// Text that is JSON or nearly so.
    fn nearly_json() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            " ",
            "\n",
            "\"",
            "\"a\"",
            "\"a\":",
            "1",
            "-",
            "0",
            ".",
            "e",
            "true",
            "null",
            "\\",
            "\\u0041",
            "\\n",
            "ü",
            "x",
            "longer than eight bytes",
        ]);
        prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn exactly_what_another_parser_takes_is_json(text in nearly_json()) {
            let other = serde_json::from_str::<serde::de::IgnoredAny>(&text);
            prop_assert_eq!(scan(&text).is_ok(), other.is_ok(), "{}", text);
        }

        #[test]
        fn strings_end_where_they_end(text in "[ -~\u{80}-\u{2ff}]{0,40}") {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(scan(&json).unwrap().range, 0..json.len());
        }

        #[test]
        fn plain_bytes_are_counted_one_by_one(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let expected = bytes.iter().take_while(|b| **b >= 0x20 && **b != b'"' && **b != b'\\').count();
            prop_assert_eq!(plain_length(&bytes), expected);
        }

        #[test]
        fn any_bytes_are_scanned_or_refused_at_a_place_inside(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            match Scanner::new(&bytes).value() {
                Ok(value) => prop_assert!(value.range.end <= bytes.len()),
                Err(error) => prop_assert!(error.offset <= bytes.len()),
            }
        }
    }
}
