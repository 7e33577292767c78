//! Signs a body as a sender does. For `millrace send`, tests and benchmarks.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::scheme::{Algorithm, Encoding, Scheme};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use ring::hmac;
use ring::signature::Ed25519KeyPair;
use secrecy::{ExposeSecret, SecretString};

use super::keys::{StandardSecret, hmac_algorithm, sign_parts, standard_secret};
use super::{body_hmac, credential, slack, standard, stripe};

/// Returns the headers that `scheme` requires. `id` is the delivery's id, where it is signed.
///
/// # Errors
/// `secret` cannot sign.
pub fn sign(
    scheme: &Scheme,
    secret: &SecretString,
    id: &str,
    body: &[u8],
    now: SystemTime,
) -> Result<HeaderMap, SignError> {
    let secret = secret.expose_secret();
    if secret.is_empty() {
        return Err(unusable("is empty"));
    }
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut headers = HeaderMap::new();
    let mut add = |name: &str, value: String| -> Result<(), SignError> {
        let name = HeaderName::try_from(name)
            .map_err(|_| SignError("the signature's header has no valid name".to_owned()))?;
        let mut value =
            HeaderValue::try_from(value).map_err(|_| unusable("holds what a header cannot carry"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
        Ok(())
    };
    match scheme {
        Scheme::Standard { .. } => {
            let signed = format!("{id}.{seconds}.");
            let signature = match standard_secret(secret).map_err(unusable)? {
                StandardSecret::Symmetric(bytes) => {
                    let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
                    format!("v1,{}", STANDARD.encode(sign_parts(&key, &[signed.as_bytes(), body])))
                }
                StandardSecret::Private(bytes) => {
                    let seed = bytes.get(..32).ok_or_else(|| unusable("is too short for a private key"))?;
                    let pair = Ed25519KeyPair::from_seed_unchecked(seed)
                        .map_err(|_| unusable("is no private key of ed25519"))?;
                    let signature = pair.sign(&[signed.as_bytes(), body].concat());
                    format!("v1a,{}", STANDARD.encode(signature))
                }
                StandardSecret::Public(_) => {
                    return Err(unusable("is a public key, whpk_…: only the sender can sign for it"));
                }
            };
            let [id_name, timestamp_name, signature_name] = standard::NAMES;
            add(id_name, id.to_owned())?;
            add(timestamp_name, seconds.to_string())?;
            add(signature_name, signature)?;
        }
        Scheme::Github => {
            let digits = body_signature(secret, Algorithm::Sha256, Encoding::Hex, &[body]);
            add(body_hmac::GITHUB, format!("{}{digits}", body_hmac::GITHUB_PREFIX))?;
        }
        Scheme::Shopify => {
            add(body_hmac::SHOPIFY, body_signature(secret, Algorithm::Sha256, Encoding::Base64, &[body]))?;
        }
        Scheme::Stripe { .. } => {
            let prefix = format!("{seconds}.");
            let digits = body_signature(secret, Algorithm::Sha256, Encoding::Hex, &[prefix.as_bytes(), body]);
            add(stripe::HEADER, format!("t={seconds},v1={digits}"))?;
        }
        Scheme::Slack { .. } => {
            let prefix = format!("v0:{seconds}:");
            let digits = body_signature(secret, Algorithm::Sha256, Encoding::Hex, &[prefix.as_bytes(), body]);
            add(slack::TIMESTAMP, seconds.to_string())?;
            add(slack::SIGNATURE, format!("v0={digits}"))?;
        }
        Scheme::Hmac { header, encoding, prefix, algorithm } => {
            add(header, format!("{prefix}{}", body_signature(secret, *algorithm, *encoding, &[body])))?;
        }
        Scheme::Bearer => add(credential::AUTHORIZATION, format!("Bearer {secret}"))?,
        Scheme::Basic => {
            add(credential::AUTHORIZATION, format!("Basic {}", STANDARD.encode(secret)))?;
        }
        Scheme::ApiKey { header } => add(header, secret.to_owned())?,
    }
    Ok(headers)
}

fn body_signature(secret: &str, algorithm: Algorithm, encoding: Encoding, parts: &[&[u8]]) -> String {
    let tag = sign_parts(&hmac::Key::new(hmac_algorithm(algorithm), secret.as_bytes()), parts);
    match encoding {
        Encoding::Hex => hex::encode(tag),
        Encoding::Base64 => STANDARD.encode(tag),
    }
}

/// Why a body cannot be signed. The message contains no part of the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignError(String);

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SignError {}

fn unusable(why: &str) -> SignError {
    SignError(format!("the secret {why}"))
}
