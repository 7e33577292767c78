//! Schemes: how a delivery proves its origin.

use std::time::Duration;

use crate::preset::Preset;

/// How deliveries are authenticated: the preset with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheme {
    /// Standard Webhooks 1.0: HMAC-SHA256 or ed25519 over id, timestamp and body.
    Standard {
        tolerance: Duration,
    },
    Github,
    Stripe {
        tolerance: Duration,
    },
    Shopify,
    Slack {
        tolerance: Duration,
    },
    /// An HMAC of the body in a header.
    Hmac {
        header: String,
        encoding: Encoding,
        /// The prefix of the signature in the header: `sha256=`.
        prefix: String,
        algorithm: Algorithm,
    },
    /// `Authorization: Bearer <secret>`
    Bearer,
    /// `Authorization: Basic <base64 of user:password>`; the secret is `user:password`.
    Basic,
    /// The secret itself in a header.
    ApiKey {
        header: String,
    },
}

impl Scheme {
    pub fn preset(&self) -> Preset {
        match self {
            Scheme::Standard { .. } => Preset::Standard,
            Scheme::Github => Preset::Github,
            Scheme::Stripe { .. } => Preset::Stripe,
            Scheme::Shopify => Preset::Shopify,
            Scheme::Slack { .. } => Preset::Slack,
            Scheme::Hmac { .. } => Preset::Hmac,
            Scheme::Bearer => Preset::Bearer,
            Scheme::Basic => Preset::Basic,
            Scheme::ApiKey { .. } => Preset::ApiKey,
        }
    }

    /// The maximum difference between the timestamp of a delivery and the current time; `None` without timestamps.
    pub fn tolerance(&self) -> Option<Duration> {
        match self {
            Scheme::Standard { tolerance } | Scheme::Stripe { tolerance } | Scheme::Slack { tolerance } => {
                Some(*tolerance)
            }
            _ => None,
        }
    }
}

/// How the bytes of a signature are written in a header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Encoding {
    #[default]
    Hex,
    Base64,
}

/// The hash function of an HMAC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Algorithm {
    #[default]
    Sha256,
    Sha512,
    /// For senders without a better hash function. HMAC-SHA1 is still secure.
    Sha1,
}
