//! Limits on the memory used for a file.

use crate::decode::DecodeLimits;

/// Limits on what is read. A record over a limit is rejected, never truncated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CsvLimits {
    /// Bytes of one record without its line end. Default 1 MiB, at most 1 GiB.
    pub max_record_bytes: usize,
    /// Bytes of one field. Default 1 MiB.
    pub max_field_bytes: usize,
    /// Default 1,600.
    pub max_columns: usize,
    /// Bytes of a reject's raw text that are kept. Default 1 MiB.
    pub max_reject_bytes: usize,
    pub decode: DecodeLimits,
}

impl Default for CsvLimits {
    fn default() -> Self {
        CsvLimits {
            max_record_bytes: 1 << 20,
            max_field_bytes: 1 << 20,
            max_columns: 1_600,
            max_reject_bytes: 1 << 20,
            decode: DecodeLimits::default(),
        }
    }
}

impl CsvLimits {
    /// The limits within what positions inside a record can express.
    pub(crate) fn bounded(mut self) -> Self {
        self.max_record_bytes = self.max_record_bytes.clamp(1, 1 << 30);
        self.max_columns = self.max_columns.clamp(1, 1 << 20);
        self
    }
}
