//! Verifies that a delivery comes from its sender, by its headers, raw body, keys and the clock.
//!
//! This module does no I/O. No header or body makes it panic or do unbounded work: the length of headers and the number
//! of signatures are limited.
//!
//! - [`keys`]: secrets prepared for their scheme; [`refusal`]: why a delivery is refused.
//! - `standard`, `stripe`, `slack`, `body_hmac`, `credential`: the headers of each scheme.
//! - [`sign`](mod@sign): signs a body as a sender does.

mod body_hmac;
mod credential;
mod header;
pub mod keys;
mod presented;
pub mod refusal;
pub mod sign;
mod slack;
mod standard;
mod stripe;
mod timestamp;
mod verification;

use std::time::SystemTime;

use crate::scheme::Scheme;
use http::HeaderMap;

pub use keys::Keys;
pub use refusal::VerifyRefusal;
pub use sign::sign;
pub use verification::{Accepted, Verification};

/// Verifies a delivery over the raw bytes of its body. Secrets are compared in constant time.
///
/// `keys` must be made for `scheme`.
pub fn verify(
    scheme: &Scheme,
    headers: &HeaderMap,
    body: &[u8],
    keys: &Keys,
    now: SystemTime,
) -> Verification {
    match check(scheme, headers, body, keys, now) {
        Ok(accepted) => Verification::Accepted(accepted),
        Err(refusal) => Verification::Refused(refusal),
    }
}

fn check(
    scheme: &Scheme,
    headers: &HeaderMap,
    body: &[u8],
    keys: &Keys,
    now: SystemTime,
) -> Result<Accepted, VerifyRefusal> {
    let presented = match scheme {
        Scheme::Standard { .. } => standard::read(headers)?,
        Scheme::Stripe { .. } => stripe::read(headers)?,
        Scheme::Slack { .. } => slack::read(headers)?,
        Scheme::Github => body_hmac::read_github(headers)?,
        Scheme::Shopify => body_hmac::read_shopify(headers)?,
        Scheme::Hmac { header, encoding, prefix, algorithm } => {
            body_hmac::read(headers, header, *encoding, prefix, *algorithm)?
        }
        Scheme::Bearer => return credential::check_bearer(headers, keys),
        Scheme::Basic => return credential::check_basic(headers, keys),
        Scheme::ApiKey { header } => return credential::check_api_key(headers, header, keys),
    };
    // The cheap check is first: an old delivery does not cost a pass over its body.
    if let (Some(signed_at), Some(tolerance)) = (presented.signed_at, scheme.tolerance()) {
        timestamp::check(signed_at, tolerance, now)?;
    }
    match keys.signer(&presented, body) {
        Some(secret) => Ok(Accepted { signed_at: presented.signed_at, secret }),
        None => Err(VerifyRefusal::NoSignatureMatches { header: presented.header.to_owned() }),
    }
}

#[cfg(test)]
mod tests;
