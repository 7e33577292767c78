//! A verdict with the source's own secrets.

use std::time::SystemTime;

use http::HeaderMap;
use millrace::Result;
use millrace::config::WebhookSource;

use crate::secrets::{Fetch, SecretCache};
use crate::verify::{Verdict, verify};

/// Verifies a delivery. When no secret matches, the source's secrets are fetched once more, if that is allowed just now:
/// the sender may have been given a new one.
///
/// # Errors
/// When the source has no secret to verify with: nothing is known of the delivery then, and it should come again.
pub async fn authenticate<F: Fetch>(
    secrets: &SecretCache<F>,
    source: &WebhookSource,
    headers: &HeaderMap,
    body: &[u8],
    now: SystemTime,
) -> Result<Verdict> {
    let keys = secrets.get(source).await?;
    let verdict = verify(&source.scheme, headers, body, &keys, now);
    let Verdict::Refused(refusal) = &verdict else { return Ok(verdict) };
    if !refusal.is_mismatch() {
        return Ok(verdict);
    }
    match secrets.refetch(source, &keys).await {
        Some(keys) => Ok(verify(&source.scheme, headers, body, &keys, now)),
        None => Ok(verdict),
    }
}
