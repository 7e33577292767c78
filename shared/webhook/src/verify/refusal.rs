//! Why a delivery is refused.

use std::fmt;
use std::time::Duration;

/// The reason, with the expected form. It contains no part of the delivery except times, and no part of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    MissingHeader {
        header: String,
    },
    /// The header is repeated and therefore ambiguous.
    RepeatedHeader {
        header: String,
    },
    /// The header is longer, or has more signatures, than any sender's.
    OversizedHeader {
        header: String,
    },
    MalformedHeader {
        header: String,
        expected: &'static str,
    },
    /// The header may be well-formed, but it is of another scheme or version.
    UnsupportedScheme {
        header: String,
        expected: String,
    },
    NoSignatureMatches {
        header: String,
    },
    TimestampTooOld {
        age: Duration,
        tolerance: Duration,
    },
    TimestampInTheFuture {
        ahead: Duration,
        tolerance: Duration,
    },
    WrongCredentials {
        header: String,
    },
}

impl Refusal {
    /// A stable code for responses, logs and alarms.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::MissingHeader { .. } => "missing_header",
            Refusal::RepeatedHeader { .. } => "repeated_header",
            Refusal::OversizedHeader { .. } => "oversized_header",
            Refusal::MalformedHeader { .. } => "malformed_header",
            Refusal::UnsupportedScheme { .. } => "unsupported_scheme",
            Refusal::NoSignatureMatches { .. } => "no_signature_matches",
            Refusal::TimestampTooOld { .. } => "timestamp_too_old",
            Refusal::TimestampInTheFuture { .. } => "timestamp_in_the_future",
            Refusal::WrongCredentials { .. } => "wrong_credentials",
        }
    }

    /// Whether another secret could have been accepted.
    pub fn is_mismatch(&self) -> bool {
        matches!(self, Refusal::NoSignatureMatches { .. } | Refusal::WrongCredentials { .. })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::MissingHeader { header } => write!(f, "the header {header} is missing"),
            Refusal::RepeatedHeader { header } => write!(f, "the header {header} is there more than once"),
            Refusal::OversizedHeader { header } => {
                write!(f, "the header {header} is longer, or has more signatures, than any sender's")
            }
            Refusal::MalformedHeader { header, expected } => {
                write!(f, "the header {header} is malformed: expected {expected}")
            }
            Refusal::UnsupportedScheme { header, expected } => {
                write!(f, "the header {header} is of another scheme: expected {expected}")
            }
            Refusal::NoSignatureMatches { header } => {
                write!(f, "no signature in the header {header} is that of this body with the source's secret")
            }
            Refusal::TimestampTooOld { age, tolerance } => write!(
                f,
                "the delivery was signed {} s ago, more than {} s",
                age.as_secs(),
                tolerance.as_secs()
            ),
            Refusal::TimestampInTheFuture { ahead, tolerance } => write!(
                f,
                "the delivery was signed {} s ahead of this clock, more than {} s",
                ahead.as_secs(),
                tolerance.as_secs()
            ),
            Refusal::WrongCredentials { header } => {
                write!(f, "what the header {header} holds is not the source's secret")
            }
        }
    }
}
