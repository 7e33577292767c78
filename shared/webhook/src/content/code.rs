//! The stable codes of rejects.

use std::fmt;

/// Why jsonb refuses a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectCode {
    InvalidUtf8,
    NulCharacter,
    LoneSurrogate,
    NumberOutOfRange,
    NestedTooDeep,
}

impl RejectCode {
    pub const fn name(self) -> &'static str {
        match self {
            RejectCode::InvalidUtf8 => "invalid_utf8",
            RejectCode::NulCharacter => "nul_character",
            RejectCode::LoneSurrogate => "lone_surrogate",
            RejectCode::NumberOutOfRange => "number_out_of_range",
            RejectCode::NestedTooDeep => "nested_too_deep",
        }
    }
}

impl fmt::Display for RejectCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
