//! Verifies a delivery with the secrets of its source.

use std::time::SystemTime;

use http::HeaderMap;
use millrace_webhook::{Verification, verify};

use super::cache::SecretCache;
use super::fetch::Fetch;
use crate::Result;
use crate::config::WebhookSource;

/// Verifies a delivery. When no secret matches, the source's secrets are fetched once more, if the cache allows a fetch
/// now: the secret may have been rotated.
///
/// # Errors
/// When the source has no secret to verify with. The delivery can then neither be accepted nor refused, and the sender
/// should send it again.
pub async fn authenticate<F: Fetch>(
    secrets: &SecretCache<F>,
    source: &WebhookSource,
    headers: &HeaderMap,
    body: &[u8],
    now: SystemTime,
) -> Result<Verification> {
    let keys = secrets.get(source).await?;
    let verification = verify(&source.scheme, headers, body, &keys, now);
    let Verification::Refused(refusal) = &verification else { return Ok(verification) };
    if !refusal.is_mismatch() {
        return Ok(verification);
    }
    match secrets.refetch(source, &keys).await {
        Some(keys) => Ok(verify(&source.scheme, headers, body, &keys, now)),
        None => Ok(verification),
    }
}
