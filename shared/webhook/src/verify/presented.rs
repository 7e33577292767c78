//! The signatures that a delivery carries.

/// The signature or credential of a delivery.
pub(super) struct Presented<'h> {
    /// The header that holds it.
    pub header: &'h str,
    pub signed_at: Option<u64>,
    /// The signed text before the body.
    pub prefix: Vec<u8>,
    /// Well-formed signatures. Any of them may match.
    pub hmacs: Vec<Vec<u8>>,
    pub ed25519: Vec<Vec<u8>>,
}
