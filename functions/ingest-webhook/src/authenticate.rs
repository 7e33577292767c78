//! A verification with the source's own secrets.

use std::time::SystemTime;

use http::HeaderMap;
use millrace::Result;
use millrace::config::WebhookSource;

use crate::secrets::{Fetch, SecretCache};
use crate::verify::{Verification, verify};

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
