//! A source's secrets: from where they are kept, and the cache of them.
//!
//! - [`references`]: environment, files, Secrets Manager.
//! - [`cache`]: made ready once, refreshed now and then, fetched again when a signature matches none.

pub mod cache;
pub mod references;

pub use cache::{SecretCache, Timing};
pub use references::References;

use millrace::Result;
use millrace::config::SecretReference;
use millrace::config::environment::Secret;

/// Where secrets come from.
pub trait Fetch: Send + Sync {
    /// The secret that `reference` names, as it is now.
    ///
    /// # Errors
    /// What is missing, and what to do about it; never anything of the secret.
    fn fetch(&self, reference: &SecretReference) -> impl Future<Output = Result<Secret>> + Send;
}
