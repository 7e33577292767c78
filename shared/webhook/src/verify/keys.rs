//! Keys: a source's secrets, prepared for their scheme.

use crate::scheme::{Algorithm, Scheme};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::hmac;
use ring::signature::{ED25519, ED25519_PUBLIC_KEY_LEN, UnparsedPublicKey};
use secrecy::{ExposeSecret, SecretString};
use subtle::{Choice, ConstantTimeEq};

use super::presented::Presented;

/// One key per secret, in their order.
#[derive(Debug)]
pub struct Keys(Vec<Key>);

enum Key {
    Hmac(hmac::Key),
    Ed25519(UnparsedPublicKey<Vec<u8>>),
    /// A credential is compared by its HMAC under itself, in constant time for any length.
    Credential(hmac::Key, hmac::Tag),
}

/// A secret that its scheme cannot use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSecret {
    /// The index of the secret, from 0.
    pub index: usize,
    /// A predicate that follows the name of the secret in a message, such as "is empty".
    pub why: &'static str,
}

impl Keys {
    /// # Errors
    /// The first secret that is empty or does not have the form that `scheme` requires.
    pub fn new(scheme: &Scheme, secrets: &[SecretString]) -> Result<Keys, BadSecret> {
        secrets
            .iter()
            .enumerate()
            .map(|(index, secret)| {
                Key::new(scheme, secret.expose_secret()).map_err(|why| BadSecret { index, why })
            })
            .collect::<Result<_, _>>()
            .map(Keys)
    }

    /// Returns the index of the key that made one of the signatures.
    pub(super) fn signer(&self, presented: &Presented<'_>, body: &[u8]) -> Option<usize> {
        self.0.iter().position(|key| key.signed(presented, body))
    }

    /// Returns the index of the secret that equals this credential.
    pub(super) fn credential(&self, presented: &[u8]) -> Option<usize> {
        self.0.iter().position(|key| match key {
            Key::Credential(key, tag) => hmac::verify(key, presented, tag.as_ref()).is_ok(),
            Key::Hmac(_) | Key::Ed25519(_) => false,
        })
    }
}

impl Key {
    fn new(scheme: &Scheme, secret: &str) -> Result<Key, &'static str> {
        if secret.is_empty() {
            return Err("is empty");
        }
        let bytes = secret.as_bytes();
        Ok(match scheme {
            Scheme::Standard { .. } => match standard_secret(secret)? {
                StandardSecret::Symmetric(bytes) => Key::Hmac(hmac::Key::new(hmac::HMAC_SHA256, &bytes)),
                StandardSecret::Public(bytes) => Key::Ed25519(UnparsedPublicKey::new(&ED25519, bytes)),
                StandardSecret::Private(_) => {
                    return Err(
                        "is the sender's private key, whsk_…: verifying takes the public one, whpk_…",
                    );
                }
            },
            Scheme::Github | Scheme::Stripe { .. } | Scheme::Shopify | Scheme::Slack { .. } => {
                Key::Hmac(hmac::Key::new(hmac::HMAC_SHA256, bytes))
            }
            Scheme::Hmac { algorithm, .. } => Key::Hmac(hmac::Key::new(hmac_algorithm(*algorithm), bytes)),
            Scheme::Basic if !secret.contains(':') => return Err("is not user:password"),
            Scheme::Bearer | Scheme::Basic | Scheme::ApiKey { .. } => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, bytes);
                let tag = hmac::sign(&key, bytes);
                Key::Credential(key, tag)
            }
        })
    }

    fn signed(&self, presented: &Presented<'_>, body: &[u8]) -> bool {
        match self {
            Key::Hmac(key) if !presented.hmacs.is_empty() => {
                // The HMAC is computed once for all signatures: a body may have six megabytes.
                let expected = sign_parts(key, &[&presented.prefix, body]);
                let matches = presented
                    .hmacs
                    .iter()
                    .fold(Choice::from(0), |any, signature| any | signature.ct_eq(expected.as_ref()));
                matches.into()
            }
            Key::Ed25519(key) if !presented.ed25519.is_empty() => {
                let message = [&presented.prefix, body].concat();
                presented.ed25519.iter().any(|signature| key.verify(&message, signature).is_ok())
            }
            Key::Hmac(_) | Key::Ed25519(_) | Key::Credential(..) => false,
        }
    }
}

/// Shows the kind of the key and nothing of its content.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Key::Hmac(_) => "Hmac(…)",
            Key::Ed25519(_) => "Ed25519(…)",
            Key::Credential(..) => "Credential(…)",
        })
    }
}

pub(super) fn hmac_algorithm(algorithm: Algorithm) -> hmac::Algorithm {
    match algorithm {
        Algorithm::Sha256 => hmac::HMAC_SHA256,
        Algorithm::Sha512 => hmac::HMAC_SHA512,
        Algorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
    }
}

pub(super) fn sign_parts(key: &hmac::Key, parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    context.sign()
}

/// A secret of Standard Webhooks.
pub(super) enum StandardSecret {
    /// Prefix `whsec_`, or no prefix.
    Symmetric(Vec<u8>),
    /// Prefix `whpk_`.
    Public(Vec<u8>),
    /// Prefix `whsk_`: the seed, optionally followed by the public key.
    Private(Vec<u8>),
}

pub(super) fn standard_secret(secret: &str) -> Result<StandardSecret, &'static str> {
    /// Accepts base64 without padding, which is often lost when a secret is copied.
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    const EXPECTED: &str = "is not of the form whsec_… or whpk_…, with base64 behind the prefix";
    let decode = |text: &str| LENIENT.decode(text).ok().filter(|bytes| !bytes.is_empty()).ok_or(EXPECTED);
    if let Some(text) = secret.strip_prefix("whpk_") {
        let bytes = decode(text)?;
        if bytes.len() != ED25519_PUBLIC_KEY_LEN {
            return Err("is not a public key of ed25519: 32 bytes in base64 behind whpk_");
        }
        return Ok(StandardSecret::Public(bytes));
    }
    if let Some(text) = secret.strip_prefix("whsk_") {
        return decode(text).map(StandardSecret::Private);
    }
    decode(secret.strip_prefix("whsec_").unwrap_or(secret)).map(StandardSecret::Symmetric)
}
