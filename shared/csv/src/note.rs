//! Notes about a file for its operator.

/// A property of the file that an operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub line: u64,
    pub text: String,
}
