//! The size of a claim.

/// A claim takes batches until it reaches one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimBounds {
    pub events: i64,
    pub bytes: i64,
}

impl Default for ClaimBounds {
    fn default() -> Self {
        ClaimBounds { events: 20_000, bytes: 16 << 20 }
    }
}
