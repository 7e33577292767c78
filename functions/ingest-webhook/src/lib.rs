//! Lambda: a webhook becomes rows of `raw_events`, verified and deduplicated.
//!
//! # Layout, in the order of a delivery
//!
//! - [`secrets`]: where a source's secrets are kept, and the cache of them.
//! - [`verify`]: headers, raw body, keys and clock in, verdict out; and the signing half, for senders and tests.
//! - [`authenticate`]: a verdict with the source's own secrets, fetched again once when none matches.
//! - [`identity`]: by what a delivery is known again, and what its events are.
//!
//! A handler does this:
//!
//! ```
//! use std::time::SystemTime;
//!
//! use ingest_webhook::identity::{event_type, identify};
//! use ingest_webhook::secrets::{Fetch, SecretCache};
//! use ingest_webhook::verify::Verdict;
//! use ingest_webhook::authenticate;
//! use millrace::config::Sources;
//!
//! /// The status to answer with, up to the point where the events are stored.
//! async fn receive<F: Fetch>(
//!     sources: &Sources,
//!     secrets: &SecretCache<F>,
//!     source: &str,
//!     headers: &http::HeaderMap,
//!     body: &[u8],
//! ) -> u16 {
//!     let Some(source) = sources.webhook(source) else { return 404 };
//!     match authenticate(secrets, source, headers, body, SystemTime::now()).await {
//!         // The secret is missing or cannot be had. The error says what to set; the sender is told to come again.
//!         Err(_) => return 503,
//!         Ok(Verdict::Refused(_)) => return 401,
//!         Ok(Verdict::Accepted(_)) => {}
//!     }
//!     // `body` as JSON: itself here, else what the form or the first line became.
//!     let identity = identify(source, headers, body, body);
//!     let event_type = event_type(source, headers, &[body]);
//!     assert!(!identity.dedupe_keys.is_empty() && !event_type.is_empty());
//!     202
//! }
//! ```

pub mod authenticate;
pub mod identity;
mod lookup;
pub mod secrets;
pub mod verify;

pub use authenticate::authenticate;
