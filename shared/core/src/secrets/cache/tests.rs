use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderMap;
use millrace_webhook::{Verification, VerifyRefusal, sign};

use super::*;
use crate::config::{SecretReference, Sources};
use crate::secrets::authenticate;

/// A store whose secrets a test changes, with a count of fetches per secret.
#[derive(Default)]
struct SecretStore {
    secrets: Mutex<BTreeMap<String, String>>,
    asked: AtomicUsize,
}

impl SecretStore {
    fn put(&self, reference: &str, secret: &str) {
        self.secrets.lock().unwrap().insert(reference.to_owned(), secret.to_owned());
    }

    fn lose(&self) {
        self.secrets.lock().unwrap().clear();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Fetch for &SecretStore {
    async fn fetch(&self, reference: &SecretReference) -> Result<Secret> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        let secret = self.secrets.lock().unwrap().get(&reference.to_string()).cloned();
        secret.map(Secret::from).ok_or_else(|| Error::new(Kind::Transient, "the store is unavailable"))
    }
}

const LONG: Duration = Duration::from_secs(3_600);

fn timing(refresh: Duration, between_refetches: Duration, after_failure: Duration) -> Timing {
    Timing { refresh, between_refetches, after_failure, fetch: Duration::from_secs(5) }
}

fn source(secrets: &str) -> WebhookSource {
    let text = format!("[a.webhook]\npreset = 'github'\nsecret = {secrets}");
    Sources::parse("s", &text).unwrap().webhook("a").unwrap().clone()
}

fn signed(source: &WebhookSource, secret: &str) -> HeaderMap {
    sign(&source.scheme, &Secret::from(secret), "1", b"{}", SystemTime::now()).unwrap()
}

async fn verification(
    cache: &SecretCache<&SecretStore>,
    source: &WebhookSource,
    secret: &str,
) -> &'static str {
    let headers = signed(source, secret);
    match authenticate(cache, source, &headers, b"{}", SystemTime::now()).await {
        Ok(Verification::Accepted(_)) => "accepted",
        Ok(Verification::Refused(VerifyRefusal::NoSignatureMatches { .. })) => "refused",
        Ok(Verification::Refused(_)) => "refused for another reason",
        Err(_) => "unknown",
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

#[test]
fn secrets_are_fetched_once_while_they_are_recent() {
    let (store, source) = (SecretStore::default(), source("'env:A'"));
    store.put("env:A", "one");
    let cache = SecretCache::with_timing(&store, timing(LONG, LONG, LONG));
    run(async {
        for _ in 0..3 {
            assert_eq!(verification(&cache, &source, "one").await, "accepted");
        }
    });
    assert_eq!(store.asked(), 1);
}

#[test]
fn both_of_two_secrets_are_accepted() {
    let (store, source) = (SecretStore::default(), source("['env:NEW', 'env:OLD']"));
    store.put("env:NEW", "new");
    store.put("env:OLD", "old");
    let cache = SecretCache::with_timing(&store, timing(LONG, LONG, LONG));
    run(async {
        assert_eq!(verification(&cache, &source, "new").await, "accepted");
        assert_eq!(verification(&cache, &source, "old").await, "accepted");
        assert_eq!(verification(&cache, &source, "older").await, "refused");
    });
}

#[test]
fn a_mismatch_fetches_the_new_secret_and_the_old_one_dies() {
    let (store, source) = (SecretStore::default(), source("'env:A'"));
    store.put("env:A", "one");
    let cache = SecretCache::with_timing(&store, timing(LONG, Duration::ZERO, LONG));
    run(async {
        assert_eq!(verification(&cache, &source, "one").await, "accepted");
        store.put("env:A", "two");
        assert_eq!(verification(&cache, &source, "one").await, "accepted", "it is still in the cache");
        assert_eq!(verification(&cache, &source, "two").await, "accepted");
        assert_eq!(verification(&cache, &source, "one").await, "refused");
    });
}

#[test]
fn mismatches_do_not_make_secrets_be_fetched_over_and_over() {
    let (store, source) = (SecretStore::default(), source("'env:A'"));
    store.put("env:A", "one");
    let cache = SecretCache::with_timing(&store, timing(LONG, LONG, LONG));
    run(async {
        for _ in 0..5 {
            assert_eq!(verification(&cache, &source, "forged").await, "refused");
        }
        assert_eq!(store.asked(), 2, "the first fetch, and one refetch");
        assert_eq!(verification(&cache, &source, "one").await, "accepted");
    });
}

#[test]
fn concurrent_mismatches_share_one_refetch() {
    let (store, source) = (SecretStore::default(), source("'env:A'"));
    store.put("env:A", "one");
    let cache = SecretCache::with_timing(&store, timing(LONG, LONG, LONG));
    run(async {
        assert_eq!(verification(&cache, &source, "one").await, "accepted");
        store.put("env:A", "two");
        let (a, b, c) = tokio::join!(
            verification(&cache, &source, "two"),
            verification(&cache, &source, "two"),
            verification(&cache, &source, "two"),
        );
        assert_eq!([a, b, c], ["accepted"; 3]);
    });
    assert_eq!(store.asked(), 2);
}

#[test]
fn what_no_secret_can_fix_fetches_nothing() {
    let (store, source) = (SecretStore::default(), source("'env:A'"));
    store.put("env:A", "one");
    let cache = SecretCache::with_timing(&store, timing(LONG, Duration::ZERO, LONG));
    run(async {
        let verification =
            authenticate(&cache, &source, &HeaderMap::new(), b"{}", SystemTime::now()).await.unwrap();
        assert!(matches!(verification, Verification::Refused(VerifyRefusal::MissingHeader { .. })));
    });
    assert_eq!(store.asked(), 1);
}

#[test]
fn good_secrets_outlive_their_store() {
    let (store, source) = (SecretStore::default(), source("'env:A'"));
    store.put("env:A", "one");
    let cache = SecretCache::with_timing(&store, timing(Duration::ZERO, Duration::ZERO, Duration::ZERO));
    run(async {
        assert_eq!(verification(&cache, &source, "one").await, "accepted");
        store.lose();
        assert_eq!(verification(&cache, &source, "one").await, "accepted");
        assert_eq!(verification(&cache, &source, "forged").await, "refused");
        assert_eq!(verification(&cache, &source, "one").await, "accepted");
        // Keys are refreshed as soon as the store is available, and the old secret stops working.
        store.put("env:A", "two");
        assert_eq!(verification(&cache, &source, "two").await, "accepted");
        assert_eq!(verification(&cache, &source, "one").await, "refused");
    });
}

#[test]
fn an_empty_or_malformed_new_secret_drops_no_good_one() {
    let text = "[a.webhook]\npreset = 'standard'\nsecret = 'env:A'";
    let source = Sources::parse("s", text).unwrap().webhook("a").unwrap().clone();
    let store = SecretStore::default();
    store.put("env:A", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let cache = SecretCache::with_timing(&store, timing(Duration::ZERO, Duration::ZERO, Duration::ZERO));
    run(async {
        let before = cache.get(&source).await.unwrap();
        for bad in ["", "whsec_", "whsec_canary!"] {
            store.put("env:A", bad);
            assert!(Arc::ptr_eq(&before, &cache.get(&source).await.unwrap()), "{bad}");
        }
    });
}

#[test]
fn a_source_without_its_secret_says_what_to_set_and_leaves_the_others_alone() {
    let store = SecretStore::default();
    store.put("env:B", "two");
    let text =
        "[a.webhook]\npreset = 'github'\nsecret = 'env:A'\n[b.webhook]\npreset = 'github'\nsecret = 'env:B'";
    let sources = Sources::parse("s", text).unwrap();
    let (a, b) = (sources.webhook("a").unwrap(), sources.webhook("b").unwrap());
    let cache = SecretCache::with_timing(&store, timing(LONG, LONG, LONG));
    run(async {
        let error = cache.get(a).await.unwrap_err();
        assert_eq!(error.message(), "source a: the secret env:A: the store is unavailable");
        assert_eq!(verification(&cache, a, "one").await, "unknown");
        assert_eq!(verification(&cache, b, "two").await, "accepted");
        assert_eq!(store.asked(), 2, "after a failure the store is left alone for a while");
    });

    let eager = SecretCache::with_timing(&store, timing(LONG, LONG, Duration::ZERO));
    run(async {
        assert_eq!(verification(&eager, a, "one").await, "unknown");
        store.put("env:A", "one");
        assert_eq!(verification(&eager, a, "one").await, "accepted", "without a restart");
    });
}

#[test]
fn a_store_that_never_answers_is_not_waited_for() {
    struct Silent;
    impl Fetch for Silent {
        async fn fetch(&self, _: &SecretReference) -> Result<Secret> {
            std::future::pending().await
        }
    }
    let timing = Timing { fetch: Duration::from_millis(20), ..Timing::default() };
    let cache = SecretCache::with_timing(Silent, timing);
    let error = run(cache.get(&source("'env:A'"))).unwrap_err();
    assert_eq!(error.message(), "source a: the secret env:A: its store did not answer in time");
    assert_eq!(error.kind(), Kind::Transient);
}
