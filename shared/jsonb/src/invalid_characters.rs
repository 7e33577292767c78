//! What is done about the characters that jsonb refuses.

use serde::{Deserialize, Serialize};

/// How bytes that are invalid in the file's encoding, and NUL, are handled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InvalidCharacters {
    #[default]
    Reject,
    /// They become U+FFFD. `staging.repairs` keeps the original record.
    Replace,
}
