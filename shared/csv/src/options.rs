//! What a user can declare about a file, beside its dialect.

use serde::{Deserialize, Serialize};

pub use millrace_jsonb::InvalidCharacters;

/// An ASCII character with a special meaning, or `None` if there is no such character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    None,
    Byte(u8),
}

impl Mark {
    pub fn byte(self) -> Option<u8> {
        match self {
            Mark::None => None,
            Mark::Byte(byte) => Some(byte),
        }
    }
}

/// Where the column names come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeclaredHeader {
    /// The number of header rows; 0 when the file has none.
    Rows(u32),
    Names(Vec<String>),
}

/// How a record with too few or too many fields is handled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ragged {
    #[default]
    Reject,
    /// Missing fields are left out. Surplus fields are stored under `_extra`.
    Fill,
}
