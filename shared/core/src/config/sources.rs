//! `pipeline/sources.toml`: one table per source, one sub-table per input. Also determines the source of an object by its key.
//!
//! A file `incoming/<source>/<event_type>/<anything>` belongs to that source and event type, even if the source is not declared.
//! A declared `path` takes precedence over this convention.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::DeTable;

use super::csv::{
    ColumnType, CsvOptions, DeclaredHeader, ENCODINGS, InvalidCharacters, Mark, OnNewVersion, Ragged,
};
use super::document::{Document, TomlKey, TomlValue, set};
use super::glob::Glob;
use super::names::{check_name, quoted};
use super::nearest::did_you_mean;
use super::webhook::WebhookSource;
use crate::{Code, Error, Kind, Result};

mod webhook;
pub use webhook::KEYS as WEBHOOK_KEYS;

/// The sub-tables that a source can have.
const INPUTS: &[&str] = &["csv", "webhook"];
/// Keys of `[<source>.csv]` alone.
const CSV_KEYS: &[&str] = &["path", "event_type", "event_types"];
/// Keys of `[<source>.csv]` and of `[<source>.csv.event_types.<event_type>]`.
pub const OPTION_KEYS: &[&str] = &[
    "encoding",
    "delimiter",
    "quote",
    "escape",
    "header",
    "comment",
    "skip_lines",
    "ragged",
    "invalid_characters",
    "null_values",
    "on_new_version",
    "max_rejected_share",
    "columns",
];

/// Every declared source.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    csv: BTreeMap<String, CsvSource>,
    webhooks: BTreeMap<String, WebhookSource>,
}

#[derive(Debug, Clone, Default)]
struct CsvSource {
    paths: Vec<Glob>,
    event_type: Option<String>,
    options: CsvOptions,
    event_types: BTreeMap<String, CsvOptions>,
}

/// The source of an object.
#[derive(Debug, Clone, PartialEq)]
pub enum ObjectRoute {
    Csv(CsvRoute),
    /// The key belongs to no source.
    Unroutable {
        reason: String,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct CsvRoute {
    pub source: String,
    pub event_type: String,
    pub options: CsvOptions,
}

impl Sources {
    /// Reads `sources.toml` in `directory`. Without the file every source has the defaults.
    pub fn load(directory: &Path) -> Result<Sources> {
        let path = directory.join("sources.toml");
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&path.display().to_string(), &text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Sources::default()),
            Err(error) => {
                Err(Error::new(Kind::Config, format!("read {}", path.display())).with_source(error))
            }
        }
    }

    /// Reads the text of a `sources.toml`.
    ///
    /// # Errors
    /// [`Kind::Config`], with every problem: `sources.toml:7:1: unknown key …; did you mean …?`
    pub fn parse(file_name: &str, text: &str) -> Result<Sources> {
        let mut document = Document::new(file_name, text);
        let tables = document.parse();
        let mut sources = Sources::default();
        for (name, inputs) in &tables {
            check_key(&mut document, name, "source");
            let Some(inputs) = document.table(inputs) else { continue };
            for (input, options) in inputs {
                match input.get_ref().as_ref() {
                    "csv" => {
                        let Some(table) = document.table(options) else { continue };
                        let source = read_source(&mut document, table);
                        sources.check_paths(&mut document, name, &source);
                        if !source.paths.is_empty() && source.event_type.is_none() {
                            document.problem(
                                input.span(),
                                "`path` requires `event_type`, because the key may not contain it",
                            );
                        }
                        sources.csv.insert(name.get_ref().to_string(), source);
                    }
                    "webhook" => {
                        let Some(table) = document.table(options) else { continue };
                        if let Some(source) = webhook::read(&mut document, name, input, table) {
                            sources.webhooks.insert(source.name.clone(), source);
                        }
                    }
                    _ => document.unknown_key(input, INPUTS),
                }
            }
        }
        let problems = document.into_problems();
        if problems.is_empty() {
            return Ok(sources);
        }
        Err(Error::new(Kind::Config, problems.join("\n")).with_code(Code::BadSources))
    }

    fn check_paths(&self, document: &mut Document<'_>, name: &TomlKey<'_>, source: &CsvSource) {
        for path in &source.paths {
            for (other, declared) in &self.csv {
                if let Some(key) = declared.paths.iter().find_map(|theirs| path.overlap(theirs)) {
                    document.problem(
                        name.span(),
                        format!(
                            "the path {} and the source {} match the same key: {}",
                            quoted(path.text()),
                            quoted(other),
                            quoted(&key)
                        ),
                    );
                }
            }
        }
    }

    /// Whether a source is declared. Anyone who can upload a file can invent the name of an undeclared source.
    pub fn declares(&self, source: &str) -> bool {
        self.csv.contains_key(source) || self.webhooks.contains_key(source)
    }

    /// The webhook that a source declares.
    pub fn webhook(&self, source: &str) -> Option<&WebhookSource> {
        self.webhooks.get(source)
    }

    /// Every declared webhook, by name.
    pub fn webhooks(&self) -> impl Iterator<Item = &WebhookSource> {
        self.webhooks.values()
    }

    /// [`Self::webhook`] for a name that a user typed.
    ///
    /// # Errors
    /// [`Kind::Config`], with the nearest right name.
    pub fn find_webhook(&self, source: &str) -> Result<&WebhookSource> {
        self.webhook(source).ok_or_else(|| {
            let known = self.webhooks.keys().map(String::as_str);
            let hint = match did_you_mean(source, known.clone()) {
                hint if hint.is_empty() => {
                    format!("; declared are {}", known.collect::<Vec<_>>().join(", "))
                }
                hint => hint,
            };
            let message = format!("no source {} has a webhook in sources.toml{hint}", quoted(source));
            Error::new(Kind::Config, message).with_code(Code::UnknownSource)
        })
    }

    /// The source of an object, by its decoded key.
    pub fn route(&self, key: &str) -> ObjectRoute {
        let declared = self.csv.iter().find(|(_, source)| source.paths.iter().any(|path| path.matches(key)));
        if let Some((name, source)) = declared {
            let event_type = source.event_type.clone().unwrap_or_default();
            let options = source.event_types.get(&event_type).unwrap_or(&source.options).clone();
            return ObjectRoute::Csv(CsvRoute { source: name.clone(), event_type, options });
        }
        let parts: Vec<&str> = key.split('/').collect();
        let ["incoming", source, event_type, .., _file] = parts.as_slice() else {
            return ObjectRoute::Unroutable {
                reason: "the key is not incoming/<source>/<event_type>/<file>, and no source declares a path for it".to_owned(),
            };
        };
        if parts.len() < 4 {
            return ObjectRoute::Unroutable {
                reason: "the key names no event type: incoming/<source>/<event_type>/<file>".to_owned(),
            };
        }
        for (what, name) in [("source", source), ("event type", event_type)] {
            if let Err(why) = check_name(name) {
                return ObjectRoute::Unroutable {
                    reason: format!("the key's {what} {} {why}", quoted(name)),
                };
            }
        }
        let options = self.csv.get(*source).map_or_else(CsvOptions::default, |declared| {
            declared.event_types.get(*event_type).unwrap_or(&declared.options).clone()
        });
        ObjectRoute::Csv(CsvRoute {
            source: (*source).to_owned(),
            event_type: (*event_type).to_owned(),
            options,
        })
    }
}

fn check_key(document: &mut Document<'_>, key: &TomlKey<'_>, what: &str) {
    if let Err(why) = check_name(key.get_ref()) {
        document.problem(key.span(), format!("the {what} {} {why}", quoted(key.get_ref())));
    }
}

fn read_source<'t>(document: &mut Document<'t>, table: &DeTable<'t>) -> CsvSource {
    let mut source = CsvSource {
        options: read_options(document, table, CsvOptions::default(), true),
        ..CsvSource::default()
    };
    for (key, value) in table {
        match key.get_ref().as_ref() {
            "path" => {
                let paths = match value.get_ref().as_str() {
                    Some(path) => Some(vec![path.to_owned()]),
                    None => document.strings(value),
                };
                for path in paths.unwrap_or_default() {
                    if !path.starts_with("incoming/") {
                        document.problem(
                            value.span(),
                            "a path must start with `incoming/`, because S3 sends notifications only for these keys",
                        );
                    }
                    source.paths.push(Glob::new(&path));
                }
            }
            "event_type" => {
                if let Some(name) = document.string(value) {
                    if let Err(why) = check_name(name) {
                        document.problem(value.span(), format!("the event type {} {why}", quoted(name)));
                    }
                    source.event_type = Some(name.to_owned());
                }
            }
            "event_types" => {
                let Some(event_types) = document.table(value) else { continue };
                for (name, options) in event_types {
                    check_key(document, name, "event type");
                    let Some(options) = document.table(options) else { continue };
                    let options = read_options(document, options, source.options.clone(), false);
                    source.event_types.insert(name.get_ref().to_string(), options);
                }
            }
            _ => {}
        }
    }
    source
}

/// Reads the options in `table`. The others keep their value in `options`.
fn read_options<'t>(
    document: &mut Document<'t>,
    table: &DeTable<'t>,
    mut options: CsvOptions,
    is_input: bool,
) -> CsvOptions {
    for (key, value) in table {
        match key.get_ref().as_ref() {
            "encoding" => options.encoding = read_encoding(document, value),
            "delimiter" => options.delimiter = read_delimiter(document, value),
            "quote" => options.quote = read_mark(document, value, &["auto", "none"]),
            "escape" => options.escape = read_mark(document, value, &["auto", "none", "doubled"]),
            "comment" => options.comment = read_mark(document, value, &["auto", "none"]),
            "header" => options.header = read_header(document, value),
            "skip_lines" => options.skip_lines = document.whole_number(value, 1_000_000),
            "ragged" => set(
                &mut options.ragged,
                document.choice(value, &[("reject", Ragged::Reject), ("fill", Ragged::Fill)]),
            ),
            "invalid_characters" => set(
                &mut options.invalid_characters,
                document.choice(
                    value,
                    &[("reject", InvalidCharacters::Reject), ("replace", InvalidCharacters::Replace)],
                ),
            ),
            "null_values" => set(&mut options.null_values, document.strings(value)),
            "on_new_version" => set(
                &mut options.on_new_version,
                document
                    .choice(value, &[("append", OnNewVersion::Append), ("replace", OnNewVersion::Replace)]),
            ),
            "max_rejected_share" => set(&mut options.max_rejected_share, document.share(value)),
            "columns" => read_columns(document, value, &mut options.columns),
            name if is_input && CSV_KEYS.contains(&name) => {}
            _ => {
                let known: Vec<&str> =
                    OPTION_KEYS.iter().chain(if is_input { CSV_KEYS } else { &[] }).copied().collect();
                document.unknown_key(key, &known);
            }
        }
    }
    options
}

fn read_encoding(document: &mut Document<'_>, value: &TomlValue<'_>) -> Option<String> {
    let mut choices: Vec<(&str, Option<&str>)> = vec![("auto", None)];
    choices.extend(ENCODINGS.iter().map(|name| (*name, Some(*name))));
    document.choice(value, &choices).flatten().map(str::to_owned)
}

fn read_delimiter(document: &mut Document<'_>, value: &TomlValue<'_>) -> Option<String> {
    match document.string(value)? {
        "auto" => None,
        text if text.is_empty() || text.len() > 8 || text.contains(['\n', '\r', '"']) => {
            document
                .problem(value.span(), "expected `auto`, or one to eight bytes without quotes and line ends");
            None
        }
        text => Some(text.to_owned()),
    }
}

fn read_mark(document: &mut Document<'_>, value: &TomlValue<'_>, words: &[&str]) -> Option<Mark> {
    let text = document.string(value)?;
    match (text, text.as_bytes()) {
        ("auto", _) if words.contains(&"auto") => None,
        ("none", _) => Some(Mark::None),
        // Without an escape character, a quote is escaped by doubling it.
        ("doubled", _) if words.contains(&"doubled") => Some(Mark::None),
        (_, [byte]) if byte.is_ascii_graphic() => Some(Mark::Byte(*byte)),
        _ => {
            document.problem(value.span(), format!("expected {} or one ASCII character", words.join(", ")));
            None
        }
    }
}

fn read_header(document: &mut Document<'_>, value: &TomlValue<'_>) -> Option<DeclaredHeader> {
    if value.get_ref().is_array() {
        let names = document.strings(value)?;
        if names.is_empty() {
            document.problem(value.span(), "expected at least one column name");
        }
        return Some(DeclaredHeader::Names(names));
    }
    if value.get_ref().is_integer() {
        return document
            .whole_number(value, 100)
            .and_then(|rows| u32::try_from(rows).ok())
            .map(DeclaredHeader::Rows);
    }
    match document.string(value)? {
        "auto" => None,
        "first" => Some(DeclaredHeader::Rows(1)),
        "none" => Some(DeclaredHeader::Rows(0)),
        _ => {
            document
                .problem(value.span(), "expected auto, first, none, a number of rows, or a list of names");
            None
        }
    }
}

fn read_columns<'t>(
    document: &mut Document<'t>,
    value: &TomlValue<'t>,
    columns: &mut BTreeMap<String, ColumnType>,
) {
    let Some(table) = document.table(value) else { return };
    for (name, value) in table {
        let choices = [
            ("string", ColumnType::String),
            ("number", ColumnType::Number),
            ("boolean", ColumnType::Boolean),
            ("json", ColumnType::Json),
        ];
        if let Some(column_type) = document.choice(value, &choices) {
            columns.insert(name.get_ref().to_string(), column_type);
        }
    }
}

#[cfg(test)]
mod tests;
