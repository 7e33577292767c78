//! Reads a TOML document and reports every problem together, each with its line and column.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::names::quoted;
use super::nearest::did_you_mean;

/// A document's name and text, and what is wrong with it so far.
pub struct Document<'t> {
    name: &'t str,
    text: &'t str,
    problems: Vec<(usize, String)>,
}

pub type TomlKey<'t> = Spanned<toml::de::DeString<'t>>;
pub type TomlValue<'t> = Spanned<DeValue<'t>>;

impl<'t> Document<'t> {
    pub fn new(name: &'t str, text: &'t str) -> Self {
        Document { name, text, problems: Vec::new() }
    }

    /// The document's tables. A TOML syntax error is recorded as a problem.
    pub fn parse(&mut self) -> DeTable<'t> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            self.problem(error.span().unwrap_or_default(), error.message());
        }
        table.into_inner()
    }

    pub fn problem(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.problems.push((span.start, message.into()));
    }

    pub fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    pub fn unknown_key(&mut self, key: &TomlKey<'_>, known: &[&str]) {
        let name = key.get_ref();
        let hint = match did_you_mean(name, known.iter().copied()) {
            hint if hint.is_empty() => format!("; known are {}", known.join(", ")),
            hint => hint,
        };
        self.problem(key.span(), format!("unknown key {}{hint}", quoted(name)));
    }

    pub fn string<'v>(&mut self, value: &'v TomlValue<'_>) -> Option<&'v str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(value, "a string");
        }
        text
    }

    pub fn table<'v>(&mut self, value: &'v TomlValue<'t>) -> Option<&'v DeTable<'t>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong_type(value, "a table");
        }
        table
    }

    pub fn strings(&mut self, value: &TomlValue<'_>) -> Option<Vec<String>> {
        let Some(items) = value.get_ref().as_array() else {
            self.wrong_type(value, "a list of strings");
            return None;
        };
        items.iter().map(|item| self.string(item).map(str::to_owned)).collect()
    }

    pub fn whole_number(&mut self, value: &TomlValue<'_>, most: u64) -> Option<u64> {
        let parsed = value
            .get_ref()
            .as_integer()
            .and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok());
        match parsed {
            Some(number) if number <= most => Some(number),
            _ => {
                self.problem(value.span(), format!("expected a whole number from 0 to {most}"));
                None
            }
        }
    }

    pub fn share(&mut self, value: &TomlValue<'_>) -> Option<f64> {
        let parsed = match value.get_ref() {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(number) => number.as_str().parse().ok(),
            _ => None,
        };
        match parsed {
            Some(share) if (0.0..=1.0).contains(&share) => Some(share),
            _ => {
                self.problem(value.span(), "expected a share from 0.0 to 1.0");
                None
            }
        }
    }

    /// One of several words.
    pub fn choice<T: Copy>(&mut self, value: &TomlValue<'_>, choices: &[(&str, T)]) -> Option<T> {
        let text = self.string(value)?;
        let found = choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice);
        if found.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            let hint = did_you_mean(text, words.iter().copied());
            self.problem(value.span(), format!("{} is none of {}{hint}", quoted(text), words.join(", ")));
        }
        found
    }

    fn wrong_type(&mut self, value: &TomlValue<'_>, expected: &str) {
        self.problem(value.span(), format!("expected {expected}, found {}", value.get_ref().type_str()));
    }

    /// The line and the column of a byte of the text, both from 1; columns count characters.
    pub fn position(&self, at: usize) -> (usize, usize) {
        position(self.text, at)
    }

    /// Every problem as `file:line:column: message`, in the order of the document.
    pub fn into_problems(self) -> Vec<String> {
        let name = self.name;
        self.into_located()
            .into_iter()
            .map(|(line, column, message)| format!("{name}:{line}:{column}: {message}"))
            .collect()
    }

    /// Every problem as line, column and message, in the order of the document.
    pub fn into_located(mut self) -> Vec<(usize, usize, String)> {
        self.problems.sort_by_key(|(at, _)| *at);
        self.problems
            .into_iter()
            .map(|(at, message)| {
                let (line, column) = position(self.text, at);
                (line, column, message)
            })
            .collect()
    }
}

/// Sets `place` to a value that was read without a problem.
pub(super) fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn position(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(at)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    (line, column)
}
