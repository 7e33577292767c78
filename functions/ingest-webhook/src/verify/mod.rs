//! Whether a delivery comes from its sender: headers, raw body, keys and clock in, verification out.
//!
//! Nothing here does I/O, and nothing in a header or a body makes it panic or work without bound: headers are short, and
//! few signatures are looked at.
//!
//! - [`keys`]: secrets made ready for their scheme; [`refusal`]: why a delivery is refused.
//! - `standard`, `stripe`, `slack`, `body_hmac`, `credential`: what each sender's headers say.
//! - [`sign`](mod@sign): the other half.

mod body_hmac;
mod credential;
mod header;
pub mod keys;
pub mod refusal;
pub mod sign;
mod slack;
mod standard;
mod stripe;
mod timestamp;

use std::time::SystemTime;

use http::HeaderMap;
use millrace::config::webhook::Scheme;

pub use keys::Keys;
pub use refusal::Refusal;
pub use sign::sign;

/// What came of verifying a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verification {
    Accepted(Accepted),
    Refused(Refusal),
}

/// A delivery that comes from its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// When it was signed, in seconds since 1970, where that is signed too.
    pub signed_at: Option<u64>,
    /// Which of the source's secrets matched, from 0: once the old one no longer does, it can go.
    pub secret: usize,
}

/// What a delivery shows for itself.
struct Presented<'h> {
    /// The header that it stands in.
    header: &'h str,
    signed_at: Option<u64>,
    /// What is signed ahead of the body.
    prefix: Vec<u8>,
    /// Well-formed signatures; any may match.
    hmacs: Vec<Vec<u8>>,
    ed25519: Vec<Vec<u8>>,
}

/// Verifies a delivery over its body's raw bytes, in constant time as far as secrets go.
///
/// `keys` were made for `scheme`.
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
) -> Result<Accepted, Refusal> {
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
    // First what is cheap: an old delivery costs no pass over its body.
    if let (Some(signed_at), Some(tolerance)) = (presented.signed_at, scheme.tolerance()) {
        timestamp::check(signed_at, tolerance, now)?;
    }
    match keys.signer(&presented, body) {
        Some(secret) => Ok(Accepted { signed_at: presented.signed_at, secret }),
        None => Err(Refusal::NoSignatureMatches { header: presented.header.to_owned() }),
    }
}

#[cfg(test)]
mod tests;
