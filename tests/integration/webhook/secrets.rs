//! Secrets in Secrets Manager, two per source, rotated while deliveries arrive.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use millrace::aws::secretsmanager_client;
use millrace::config::environment::Secret;
use millrace_webhook::Scheme;
use millrace_webhook::verify::sign;
use serde_json::json;

use super::client::{Form, Reply, WebhookClient};
use super::fixture::WebhookFixture;

/// Two members of one secret: the current value, and the previous or next one.
struct Rotation {
    fixture: WebhookFixture,
    client: aws_sdk_secretsmanager::Client,
    name: String,
}

impl Rotation {
    async fn new() -> Rotation {
        let name = format!("webhooks/{}", uuid::Uuid::now_v7().simple());
        let fixture = WebhookFixture::with_sources(&format!(
            "[rotated.webhook]\npreset = 'github'\ndelivery_id = 'header:X-Delivery'\ndedupe = 'id'\n
             secret = ['secretsmanager:{name}#current', 'secretsmanager:{name}#other']"
        ))
        .await;
        let client = secretsmanager_client(&fixture.aws.address.config().await);
        client.create_secret().name(&name).secret_string("{}").send().await.expect("make a secret");
        Rotation { fixture, client, name }
    }

    async fn hold(&self, current: &str, other: &str) {
        let text = json!({ "current": current, "other": other }).to_string();
        self.client
            .put_secret_value()
            .secret_id(&self.name)
            .secret_string(text)
            .send()
            .await
            .expect("put a secret");
    }
}

/// Posts a new delivery, signed with `secret`.
async fn post(client: &WebhookClient, secret: &str) -> Reply {
    let mut headers: HeaderMap =
        sign(&Scheme::Github, &Secret::from(secret), "", b"{}", SystemTime::now()).expect("sign");
    let id = uuid::Uuid::now_v7().to_string();
    headers.insert("x-delivery", id.parse().expect("a value"));
    client.post("rotated", &headers, b"{}", Form::Plain).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_secret_is_accepted_immediately_and_only_the_two_stored_secrets_work() {
    let rotation = Rotation::new().await;
    rotation.hold("first", "second").await;
    let client = rotation.fixture.open(&[]).await;
    for secret in ["first", "second"] {
        post(&client, secret).await.was(202, "stored");
    }
    rotation.hold("third", "first").await;
    // Known secrets do not cause a fetch, so the removed one works until a delivery needs the new one.
    post(&client, "second").await.was(202, "stored");
    post(&client, "third").await.was(202, "stored");
    post(&client, "first").await.was(202, "stored");
    post(&client, "second").await.is_problem(401, "unauthorized");
    assert_eq!(rotation.fixture.row_count().await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_secret_is_refused_after_the_cache_expires() {
    let rotation = Rotation::new().await;
    rotation.hold("first", "second").await;
    let client = rotation.fixture.open(&[("MILLRACE_SECRET_REFRESH", "1 s")]).await;
    post(&client, "first").await.was(202, "stored");
    rotation.hold("second", "third").await;
    let refused = async {
        // Every signature is valid until then: only the time causes a fetch.
        while post(&client, "first").await.status == 202 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), refused).await.expect("the old secret dies");
    for secret in ["second", "third"] {
        post(&client, secret).await.was(202, "stored");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_secrets_manager_cached_secrets_work_and_other_sources_are_unavailable() {
    let rotation = Rotation::new().await;
    rotation.hold("first", "second").await;
    let store = millrace_tests::proxy::Proxy::start(rotation.fixture.aws.port()).await;
    let address = format!("http://127.0.0.1:{}", store.port());
    let settings = [("AWS_ENDPOINT_URL_SECRETS_MANAGER", &*address), ("MILLRACE_SECRET_REFRESH", "1 s")];
    let (known, unknown) = (rotation.fixture.open(&settings).await, rotation.fixture.open(&settings).await);
    post(&known, "first").await.was(202, "stored");
    store.refuse();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let (of_known, of_unknown) = futures_util::join!(post(&known, "first"), post(&unknown, "first"));
    of_known.was(202, "stored");
    of_unknown.is_problem(503, "unavailable");
    store.pass();
    let opened = async {
        while post(&unknown, "first").await.status != 202 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), opened).await.expect("the source opens without a restart");
}
