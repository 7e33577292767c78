//! Why a body cannot be split into records.

use std::borrow::Cow;
use std::fmt;

/// The reason, as sentences for the sender. They contain nothing of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyError {
    Empty,
    /// The body is not what its type says.
    Malformed(Cow<'static, str>),
    /// The content type or the content encoding is not supported.
    Unsupported(&'static str),
}

impl BodyError {
    pub(super) fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        BodyError::Malformed(detail.into())
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BodyError::Empty => "The body is empty.",
            BodyError::Malformed(detail) => detail,
            BodyError::Unsupported(detail) => detail,
        })
    }
}

impl std::error::Error for BodyError {}
