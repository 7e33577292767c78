//! The interface of a store of secrets.

use crate::Result;
use crate::config::SecretReference;
use crate::config::environment::Secret;

/// A store of secrets.
pub trait Fetch: Send + Sync {
    /// The current value of the secret that `reference` names.
    ///
    /// # Errors
    /// What is missing, and what to do about it. The error never contains the secret.
    fn fetch(&self, reference: &SecretReference) -> impl Future<Output = Result<Secret>> + Send;
}
