//! Why a delivery is refused.

use std::fmt;
use std::time::Duration;

/// The reason, with the expected form. It contains no part of the delivery except times, and no part of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifyRefusal {
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

impl VerifyRefusal {
    /// A stable code for responses, logs and alarms.
    pub fn code(&self) -> &'static str {
        match self {
            VerifyRefusal::MissingHeader { .. } => "missing_header",
            VerifyRefusal::RepeatedHeader { .. } => "repeated_header",
            VerifyRefusal::OversizedHeader { .. } => "oversized_header",
            VerifyRefusal::MalformedHeader { .. } => "malformed_header",
            VerifyRefusal::UnsupportedScheme { .. } => "unsupported_scheme",
            VerifyRefusal::NoSignatureMatches { .. } => "no_signature_matches",
            VerifyRefusal::TimestampTooOld { .. } => "timestamp_too_old",
            VerifyRefusal::TimestampInTheFuture { .. } => "timestamp_in_the_future",
            VerifyRefusal::WrongCredentials { .. } => "wrong_credentials",
        }
    }

    /// Whether another secret could have been accepted.
    pub fn is_mismatch(&self) -> bool {
        matches!(self, VerifyRefusal::NoSignatureMatches { .. } | VerifyRefusal::WrongCredentials { .. })
    }
}

impl fmt::Display for VerifyRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VerifyRefusal::MissingHeader { header } => write!(f, "the header {header} is missing"),
            VerifyRefusal::RepeatedHeader { header } => {
                write!(f, "the header {header} is there more than once")
            }
            VerifyRefusal::OversizedHeader { header } => {
                write!(f, "the header {header} is longer, or has more signatures, than any sender's")
            }
            VerifyRefusal::MalformedHeader { header, expected } => {
                write!(f, "the header {header} is malformed: expected {expected}")
            }
            VerifyRefusal::UnsupportedScheme { header, expected } => {
                write!(f, "the header {header} is of another scheme: expected {expected}")
            }
            VerifyRefusal::NoSignatureMatches { header } => {
                write!(f, "no signature in the header {header} is that of this body with the source's secret")
            }
            VerifyRefusal::TimestampTooOld { age, tolerance } => write!(
                f,
                "the delivery was signed {} s ago, more than {} s",
                age.as_secs(),
                tolerance.as_secs()
            ),
            VerifyRefusal::TimestampInTheFuture { ahead, tolerance } => write!(
                f,
                "the delivery was signed {} s ahead of this clock, more than {} s",
                ahead.as_secs(),
                tolerance.as_secs()
            ),
            VerifyRefusal::WrongCredentials { header } => {
                write!(f, "what the header {header} holds is not the source's secret")
            }
        }
    }
}
