//! A source's secrets: the stores that hold them, and the cache.
//!
//! - [`references`]: environment, files, Secrets Manager.
//! - [`cache`]: the cached keys, refreshed periodically, and fetched again when a signature matches none.
//! - [`authenticate`](mod@authenticate): verifies a delivery with them.

mod authenticate;
pub mod cache;
mod fetch;
pub mod references;

pub use authenticate::authenticate;
pub use cache::{SecretCache, Timing};
pub use fetch::Fetch;
pub use references::References;
