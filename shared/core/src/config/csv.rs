//! The settings of the CSV files of a source.

use std::collections::BTreeMap;
use std::fmt;

pub use millrace_csv::{DeclaredHeader, InvalidCharacters, Mark, Ragged};
use serde::{Deserialize, Serialize};

/// The settings of `[<source>.csv]`. A setting that is `None` is detected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CsvOptions {
    /// A name of [`ENCODINGS`].
    pub encoding: Option<String>,
    /// One or more characters.
    pub delimiter: Option<String>,
    pub quote: Option<Mark>,
    pub escape: Option<Mark>,
    pub header: Option<DeclaredHeader>,
    pub comment: Option<Mark>,
    /// Lines above the header.
    pub skip_lines: Option<u64>,
    pub ragged: Ragged,
    pub invalid_characters: InvalidCharacters,
    /// Values that become JSON null.
    pub null_values: Vec<String>,
    pub on_new_version: OnNewVersion,
    /// From 0 to 1.
    pub max_rejected_share: f64,
    /// Declared types by column; all others are strings.
    pub columns: BTreeMap<String, ColumnType>,
}

impl Default for CsvOptions {
    fn default() -> Self {
        CsvOptions {
            encoding: None,
            delimiter: None,
            quote: None,
            escape: None,
            header: None,
            comment: None,
            skip_lines: None,
            ragged: Ragged::Reject,
            invalid_characters: InvalidCharacters::Reject,
            null_values: Vec::new(),
            on_new_version: OnNewVersion::Append,
            max_rejected_share: 0.5,
            columns: BTreeMap::new(),
        }
    }
}

/// The encodings that can be declared.
pub const ENCODINGS: &[&str] = &["utf-8", "utf-16le", "utf-16be", "windows-1252", "latin-1"];

/// How the rows of an object's earlier versions are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnNewVersion {
    Append,
    Replace,
}

impl OnNewVersion {
    pub const ALL: [OnNewVersion; 2] = [OnNewVersion::Append, OnNewVersion::Replace];

    pub fn name(self) -> &'static str {
        match self {
            OnNewVersion::Append => "append",
            OnNewVersion::Replace => "replace",
        }
    }
}

/// A column's declared type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// Unchanged: `007` stays `007`.
    #[default]
    String,
    /// A JSON number; empty becomes null.
    Number,
    /// true, t, yes, y, 1 and their opposites, in any case; empty becomes null.
    Boolean,
    /// JSON; empty becomes null.
    Json,
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ColumnType::String => "string",
            ColumnType::Number => "number",
            ColumnType::Boolean => "boolean",
            ColumnType::Json => "JSON value",
        })
    }
}
