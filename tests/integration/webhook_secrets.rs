//! Webhook secrets from variables, files and Secrets Manager.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use millrace::Result;
use millrace::config::environment::Secret;
use millrace::config::{SecretReference, Sources, WebhookSource};
use millrace::secrets::authenticate;
use millrace::secrets::{Fetch, References, SecretCache};
use millrace_tests::aws::Aws;
use millrace_webhook::verify::{Verification, sign};
use tempfile::TempDir;
use uuid::Uuid;

fn github(secret: &str) -> WebhookSource {
    let text = format!("[github.webhook]\npreset = 'github'\nsecret = {secret}");
    Sources::parse("sources.toml", &text).unwrap().find_webhook("github").unwrap().clone()
}

/// Whether a delivery that is signed with `secret` is accepted.
async fn accepts<F: Fetch>(cache: &SecretCache<F>, source: &WebhookSource, secret: &str) -> bool {
    let now = SystemTime::now();
    let headers = sign(&source.scheme, &Secret::from(secret), "1", b"{}", now).unwrap();
    let verification = authenticate(cache, source, &headers, b"{}", now).await.unwrap();
    matches!(verification, Verification::Accepted(_))
}

/// Counts the requests to the secret store.
struct Counted {
    references: References,
    asked: AtomicUsize,
}

impl Fetch for &Counted {
    async fn fetch(&self, reference: &SecretReference) -> Result<Secret> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.references.fetch(reference).await
    }
}

#[tokio::test]
async fn a_secret_rotated_in_secrets_manager_is_accepted_immediately() {
    let aws = Aws::new().await;
    let client = millrace::aws::secretsmanager_client(&aws.address.config().await);
    let name = format!("webhooks/{}", Uuid::now_v7());
    let create = client.create_secret().name(&name).secret_string(r#"{"github": "one", "other": "x"}"#);
    let arn = create.send().await.unwrap().arn.unwrap();

    let counted =
        Counted { references: References::new(|_| None, Some(client.clone())), asked: AtomicUsize::new(0) };
    for id in [&name, &arn] {
        let cache = SecretCache::new(&counted);
        let source = github(&format!("'secretsmanager:{id}#github'"));
        let put = client.put_secret_value().secret_id(&name);
        put.secret_string(r#"{"github": "one", "other": "x"}"#).send().await.unwrap();
        assert!(accepts(&cache, &source, "one").await);
        let put = client.put_secret_value().secret_id(&name);
        put.secret_string(r#"{"github": "two", "other": "x"}"#).send().await.unwrap();
        assert!(accepts(&cache, &source, "two").await);
        assert!(!accepts(&cache, &source, "one").await);
        assert!(!accepts(&cache, &source, "x").await);
    }
    assert_eq!(counted.asked.load(Ordering::Relaxed), 4, "one fetch and one refetch a cache");

    for (secret, words) in [
        (format!("secretsmanager:{name}#stripe"), "no text under this key"),
        (format!("secretsmanager:{name}"), "say which member is meant"),
        ("secretsmanager:webhooks/none".to_owned(), "ResourceNotFoundException"),
    ] {
        let error = SecretCache::new(&counted).get(&github(&format!("'{secret}'"))).await.unwrap_err();
        let chain = error.chain();
        assert!(chain.contains(&secret) && chain.contains(words) && !chain.contains("two"), "{chain}");
    }
}

#[tokio::test]
async fn secrets_come_from_variables_and_files_too() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "from a file\r\n").unwrap();
    let variables = |name: &str| (name == "SET").then(|| "from a variable".to_owned());
    let source = github(&format!("['env:SET', 'file:{}']", file.display()));
    let cache = SecretCache::new(References::new(variables, None));
    assert!(accepts(&cache, &source, "from a variable").await);
    assert!(accepts(&cache, &source, "from a file").await);
    assert!(!accepts(&cache, &source, "from a file\r\n").await);

    std::fs::write(folder.path().join("empty"), "\n").unwrap();
    for (secret, words) in [
        ("env:UNSET".to_owned(), "source github: the secret env:UNSET: the variable is not set, or empty"),
        (format!("file:{}/none", folder.path().display()), "the file cannot be read: No such file"),
        (format!("file:{}/empty", folder.path().display()), "the file is empty"),
        ("secretsmanager:a".to_owned(), "no client for Secrets Manager"),
    ] {
        let cache = SecretCache::new(References::new(variables, None));
        let error = cache.get(&github(&format!("'{secret}'"))).await.unwrap_err();
        assert!(error.chain().contains(words), "{}", error.chain());
    }
}
