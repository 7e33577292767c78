//! The result of verifying a delivery.

use super::refusal::VerifyRefusal;

/// The result of verifying a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verification {
    Accepted(Accepted),
    Refused(VerifyRefusal),
}

/// A delivery that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The time of signing in seconds since 1970, where the signature covers it.
    pub signed_at: Option<u64>,
    /// The index of the secret that matched, from 0. When an old secret no longer matches any delivery, it can be
    /// removed.
    pub secret: usize,
}
