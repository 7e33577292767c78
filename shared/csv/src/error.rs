//! Why a file cannot be read. A single record that cannot be loaded is no error: it is a [`CsvReject`](crate::CsvReject).

use std::error::Error as StdError;
use std::fmt;
use std::io;

use crate::code::CsvCode;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A declared option is wrong.
    Option,
    /// The file breaks a rule and will break it again: it is truncated, compressed wrongly, or not text.
    File,
    /// The reader below failed. [`Error::into_source`] is its [`io::Error`].
    Read,
}

/// A failure: its kind, what was being done, a stable code, and the cause. It never contains the file's bytes.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    code: CsvCode,
    message: String,
    source: Option<io::Error>,
}

impl Error {
    pub(crate) fn file(code: CsvCode, message: impl Into<String>) -> Self {
        Error { kind: ErrorKind::File, code, message: message.into(), source: None }
    }

    pub(crate) fn option(message: String) -> Self {
        Error { kind: ErrorKind::Option, code: CsvCode::Config, message, source: None }
    }

    pub(crate) fn read(source: io::Error) -> Self {
        let message = "read the object".to_owned();
        Error { kind: ErrorKind::Read, code: CsvCode::ReadFailed, message, source: Some(source) }
    }

    pub(crate) fn with_source(mut self, source: io::Error) -> Self {
        self.source = Some(source);
        self
    }

    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// A stable word, such as `truncated_gzip`. `docs/csv.md` lists them.
    pub fn code(&self) -> CsvCode {
        self.code
    }

    pub fn into_source(self) -> Option<io::Error> {
        self.source
    }
}

/// The crate's error inside an `io::Error`, or an error of the reader below.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        error.downcast::<Error>().unwrap_or_else(Error::read)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| source as &(dyn StdError + 'static))
    }
}
