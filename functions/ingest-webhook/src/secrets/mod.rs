//! A source's secrets: the stores that hold them, and the cache.
//!
//! - [`references`]: environment, files, Secrets Manager.
//! - [`cache`]: the cached keys, refreshed periodically, and fetched again when a signature matches none.

pub mod cache;
pub mod references;

pub use cache::{SecretCache, Timing};
pub use references::References;

use millrace::Result;
use millrace::config::SecretReference;
use millrace::config::environment::Secret;

/// A store of secrets.
pub trait Fetch: Send + Sync {
    /// The current value of the secret that `reference` names.
    ///
    /// # Errors
    /// What is missing, and what to do about it. The error never contains the secret.
    fn fetch(&self, reference: &SecretReference) -> impl Future<Output = Result<Secret>> + Send;
}
