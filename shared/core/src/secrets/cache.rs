//! Caches the keys of each source's secrets. They are refreshed periodically, and fetched again when a signature
//! matches none.
//!
//! Valid secrets are never dropped because new ones cannot be fetched: while the secret store does not respond, the
//! last known ones stay.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use millrace_webhook::Keys;

use super::fetch::Fetch;
use crate::config::WebhookSource;
use crate::config::environment::{ExposeSecret, Secret};
use crate::{Code, Error, Kind, Result};

#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Secrets are fetched again after this time. A withdrawn secret stops working then.
    pub refresh: Duration,
    /// After a mismatch, a source's secrets are fetched again at most once in this time, because anybody can cause a
    /// mismatch.
    pub between_refetches: Duration,
    /// After a failure the secret store is not queried for this time.
    pub after_failure: Duration,
    /// The timeout of one fetch, short enough for the delivery to be answered in time.
    pub fetch: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            refresh: Duration::from_secs(300),
            between_refetches: Duration::from_secs(30),
            after_failure: Duration::from_secs(5),
            fetch: Duration::from_secs(2),
        }
    }
}

/// The secrets of every source that was used. Each source has its own entry, so that a failure affects one source only.
pub struct SecretCache<F> {
    store: F,
    timing: Timing,
    entries: Mutex<HashMap<String, Arc<CacheEntry>>>,
}

#[derive(Default)]
struct CacheEntry {
    cached: Mutex<Option<Arc<Cached>>>,
    /// Locked during a fetch. Other requests wait, or use the present keys.
    fetching: tokio::sync::Mutex<Attempts>,
}

struct Cached {
    keys: Arc<Keys>,
    secrets: Vec<Secret>,
    // Not an `Instant`: an `Instant` does not advance while Lambda freezes the process.
    fetched_at: SystemTime,
}

#[derive(Default)]
struct Attempts {
    refetched_at: Option<SystemTime>,
    failed: Option<Failure>,
}

struct Failure {
    at: SystemTime,
    kind: Kind,
    message: String,
}

impl<F: Fetch> SecretCache<F> {
    pub fn new(store: F) -> Self {
        SecretCache::with_timing(store, Timing::default())
    }

    pub fn with_timing(store: F, timing: Timing) -> Self {
        SecretCache { store, timing, entries: Mutex::default() }
    }

    /// Returns the keys of `source`, from the cache if they are recent.
    ///
    /// # Errors
    /// When there are no keys and none can be fetched. The error names the source, the secret, and the action to take.
    pub async fn get(&self, source: &WebhookSource) -> Result<Arc<Keys>> {
        let entry = self.entry(source);
        if let Some(cached) = entry.cached() {
            if is_over(cached.fetched_at, self.timing.refresh)
                // One request fetches, and the others use the present keys.
                && let Ok(mut attempts) = entry.fetching.try_lock()
                && !attempts.failed_within(self.timing.after_failure)
                && let Some(keys) = self.renew(source, &entry, &mut attempts).await
            {
                return Ok(keys);
            }
            return Ok(Arc::clone(&cached.keys));
        }
        let mut attempts = entry.fetching.lock().await;
        // Another request has fetched them by now, or failed to.
        if let Some(cached) = entry.cached() {
            return Ok(Arc::clone(&cached.keys));
        }
        if let Some(failure) =
            attempts.failed.as_ref().filter(|failure| !is_over(failure.at, self.timing.after_failure))
        {
            return Err(failure.to_error());
        }
        match self.fetch(source).await {
            Ok(cached) => {
                attempts.failed = None;
                let keys = Arc::clone(&cached.keys);
                entry.put(cached);
                Ok(keys)
            }
            Err(error) => {
                attempts.remember(&error);
                Err(error)
            }
        }
    }

    /// Returns other keys than `seen`, which matched nothing, or `None` when there are no others or a fetch is not
    /// allowed yet.
    pub async fn refetch(&self, source: &WebhookSource, seen: &Arc<Keys>) -> Option<Arc<Keys>> {
        let entry = self.entry(source);
        let mut attempts = entry.fetching.lock().await;
        // Another request's mismatch may have fetched new keys while this one waited.
        if let Some(cached) = entry.cached()
            && !Arc::ptr_eq(&cached.keys, seen)
        {
            return Some(Arc::clone(&cached.keys));
        }
        if attempts.refetched_at.is_some_and(|at| !is_over(at, self.timing.between_refetches)) {
            return None;
        }
        attempts.refetched_at = Some(SystemTime::now());
        self.renew(source, &entry, &mut attempts).await.filter(|keys| !Arc::ptr_eq(keys, seen))
    }

    /// Fetches again. A failure is logged, and the present keys stay.
    async fn renew(
        &self,
        source: &WebhookSource,
        entry: &CacheEntry,
        attempts: &mut Attempts,
    ) -> Option<Arc<Keys>> {
        match self.fetch(source).await {
            Ok(mut new) => {
                attempts.failed = None;
                // Unchanged secrets keep their keys, so that the caller can see that the fetch changed nothing.
                if let Some(cached) = entry.cached().filter(|cached| are_equal(&cached.secrets, &new.secrets))
                {
                    new.keys = Arc::clone(&cached.keys);
                }
                let keys = Arc::clone(&new.keys);
                entry.put(new);
                Some(keys)
            }
            Err(error) => {
                attempts.remember(&error);
                tracing::warn!(
                    source_name = source.name,
                    code = error.code().name(),
                    error = error.chain(),
                    "secrets not refreshed; the last known ones stay"
                );
                None
            }
        }
    }

    async fn fetch(&self, source: &WebhookSource) -> Result<Cached> {
        let mut secrets = Vec::with_capacity(source.secrets.len());
        for reference in &source.secrets {
            let named = |kind, why: &str| {
                let message = format!("source {}: the secret {reference}: {why}", source.name);
                Error::new(kind, message).with_code(Code::MissingSecret)
            };
            let fetched = tokio::time::timeout(self.timing.fetch, self.store.fetch(reference)).await;
            let secret = fetched
                .map_err(|_| named(Kind::Transient, "its store did not answer in time"))?
                .map_err(|error| named(error.kind(), &error.chain()))?;
            secrets.push(secret);
        }
        let keys = Keys::new(&source.scheme, &secrets).map_err(|bad| {
            let reference = source.secrets.get(bad.index).map(ToString::to_string).unwrap_or_default();
            let message = format!("source {}: the secret {reference} {}", source.name, bad.why);
            Error::new(Kind::Config, message).with_code(Code::BadSecret)
        })?;
        Ok(Cached { keys: Arc::new(keys), secrets, fetched_at: SystemTime::now() })
    }

    fn entry(&self, source: &WebhookSource) -> Arc<CacheEntry> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get(&source.name) {
            return Arc::clone(entry);
        }
        Arc::clone(entries.entry(source.name.clone()).or_default())
    }
}

impl CacheEntry {
    fn cached(&self) -> Option<Arc<Cached>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, cached: Cached) {
        *self.cached.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(cached));
    }
}

impl Attempts {
    fn failed_within(&self, time: Duration) -> bool {
        self.failed.as_ref().is_some_and(|failure| !is_over(failure.at, time))
    }

    fn remember(&mut self, error: &Error) {
        self.failed =
            Some(Failure { at: SystemTime::now(), kind: error.kind(), message: error.message().to_owned() });
    }
}

impl Failure {
    fn to_error(&self) -> Error {
        Error::new(self.kind, self.message.clone()).with_code(Code::MissingSecret)
    }
}

/// The period is also over when the clock was set back.
fn is_over(since: SystemTime, time: Duration) -> bool {
    since.elapsed().map_or(true, |elapsed| elapsed >= time)
}

fn are_equal(left: &[Secret], right: &[Secret]) -> bool {
    left.iter().map(Secret::expose_secret).eq(right.iter().map(Secret::expose_secret))
}

#[cfg(test)]
mod tests;
