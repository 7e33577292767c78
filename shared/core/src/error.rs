//! The error type. Its kind determines what is done about it.
//!
//! A bad row is not an [`Error`]: it is sent to the dead-letter queue. An [`Error`] means that the unit of work was not stored.

use std::error::Error as StdError;
use std::fmt;

use millrace_csv::ErrorKind;

use crate::code::Code;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of a failure. [`Kind::policy`] maps it to the action that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A setting is missing or wrong. A person must change it.
    Config,
    /// The input is invalid, and a retry fails again: not an S3 notification, a truncated gzip.
    Contract,
    /// A temporary failure: a lost connection, a full disk, a read-only database. A later retry may succeed.
    Transient,
    /// A conflict with another transaction: deadlock or serialization failure. An immediate retry may succeed.
    Conflict,
    /// An unexpected condition, which is a bug.
    Bug,
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Run the same transaction again, now, within the deadline.
    RetryNow,
    /// Leave the message in its queue, which delivers it again.
    RetryLater,
    /// Send the input to the dead-letter queue with the reason, and continue.
    DeadLetter,
    /// Stop and report the error: a person must act.
    Stop,
}

impl Kind {
    pub fn policy(self) -> Policy {
        match self {
            Kind::Conflict => Policy::RetryNow,
            Kind::Transient => Policy::RetryLater,
            Kind::Contract => Policy::DeadLetter,
            Kind::Config | Kind::Bug => Policy::Stop,
        }
    }

    /// Whether the same work may succeed later, because the database or another service is the cause and not the work.
    pub fn is_temporary(self) -> bool {
        matches!(self.policy(), Policy::RetryNow | Policy::RetryLater)
    }
}

/// A failure: its kind, the operation, a stable code for programs, and the cause.
///
/// Messages contain names of settings, objects and positions. They never contain a payload, a secret or a connection string.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    code: Code,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// `message` names the operation, in the infinitive or as a full sentence: "copy rows into staging.events".
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let code = match kind {
            Kind::Config => Code::Config,
            Kind::Contract => Code::Contract,
            Kind::Transient => Code::Transient,
            Kind::Conflict => Code::Conflict,
            Kind::Bug => Code::Bug,
        };
        Error(Box::new(Inner { kind, code, message: message.into(), source: None }))
    }

    /// Defaults to the kind's name.
    pub fn with_code(mut self, code: Code) -> Self {
        self.0.code = code;
        self
    }

    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The message without its causes.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The message with every cause after it: "connect to the database: connection refused".
    pub fn chain(&self) -> String {
        let mut text = self.0.message.clone();
        let mut cause = self.source();
        while let Some(error) = cause {
            let part = error.to_string();
            // Several libraries repeat their cause in their own message.
            if !text.ends_with(&part) {
                text.push_str(": ");
                text.push_str(&part);
            }
            cause = error.source();
        }
        text
    }
}

/// The error of the reader below passes through; a file that breaks a rule is a breach of contract.
impl From<millrace_csv::Error> for Error {
    fn from(error: millrace_csv::Error) -> Self {
        let (code, message) = (Code::from(error.code()), error.to_string());
        let kind = match error.kind() {
            ErrorKind::Option => Kind::Config,
            ErrorKind::File => Kind::Contract,
            ErrorKind::Read => Kind::Transient,
        };
        let is_read = error.kind() == ErrorKind::Read;
        let own = Error::new(kind, message).with_code(code);
        match error.into_source() {
            Some(source) if is_read => {
                source.downcast::<Error>().unwrap_or_else(|source| own.with_source(source))
            }
            Some(source) => own.with_source(source),
            None => own,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_names_every_cause_once() {
        let cause = std::io::Error::other("connection refused");
        let error = Error::new(Kind::Transient, "connect to the database").with_source(cause);
        assert_eq!(error.chain(), "connect to the database: connection refused");
        assert_eq!(error.to_string(), "connect to the database");
    }

    #[test]
    fn each_kind_has_one_policy() {
        assert_eq!(Kind::Conflict.policy(), Policy::RetryNow);
        assert_eq!(Kind::Transient.policy(), Policy::RetryLater);
        assert_eq!(Kind::Contract.policy(), Policy::DeadLetter);
        assert_eq!(Kind::Config.policy(), Policy::Stop);
        assert_eq!(Kind::Bug.policy(), Policy::Stop);
        let temporary = [Kind::Config, Kind::Contract, Kind::Transient, Kind::Conflict, Kind::Bug]
            .map(Kind::is_temporary);
        assert_eq!(temporary, [false, false, true, true, false]);
    }
}
