//! No part of a delivery, a secret or a password is logged, at any level.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use millrace_tests::proxy::Proxy;
use serde_json::json;

use super::client::{Form, WebhookClient, request};
use super::fixture::{WebhookFixture, signed};

const SHORT: Duration = Duration::from_secs(5);
/// Each canary is at the place that its name describes.
const CANARIES: [&str; 6] =
    ["canary-body", "canary-header", "canary-query", "canary-delivery", "canary-kind", "canary-path"];

/// Posts one request of each kind and returns the statuses.
async fn provoke(client: &WebhookClient) -> BTreeSet<u16> {
    let bodies = [
        &br#"{"a":"canary-body"}"#[..],
        br#"[{"a":"canary-body\u0000"},{"a":"canary-body"},{"canary-body":1e999999}]"#,
        br#"{"a":"canary-body""#,
        b"{\"canary-body\":\"\xff\"}",
        br#"{"poison":"canary-body"}"#,
    ];
    let mut events = Vec::new();
    for (number, body) in bodies.into_iter().enumerate() {
        let mut headers = signed("orders", &format!("canary-delivery-{number}"), body);
        for (name, value) in
            [("x-more", "canary-header"), ("x-kind", "canary-kind"), ("cookie", "canary-header")]
        {
            headers.insert(name, value.parse().expect("a value"));
        }
        let mut event = request("POST", "/webhooks/orders", &headers, body, Form::Base64);
        event["rawQueryString"] = json!("token=canary-query");
        event["queryStringParameters"] = json!({ "token": "canary-query" });
        events.push(event.clone());
        event["headers"]["x-signature"] = json!("sha256=canary-header");
        events.push(event.clone());
        event["rawPath"] = json!("/webhooks/canary-path");
        events.push(event);
    }
    join_all(events.iter().map(|event| client.send(event, SHORT)))
        .await
        .iter()
        .map(|reply| reply.status)
        .collect()
}

async fn assert_nothing_is_logged_at(level: &str) {
    let fixture = WebhookFixture::new().await;
    fixture
        .execute("alter table staging.events add constraint no_poison check (not payload ? 'poison')")
        .await;
    let database = Proxy::start(fixture.database.port()).await;
    let queue = Proxy::start(fixture.aws.port()).await;
    let url = database.instead_of(fixture.database.port(), &fixture.database.url_for("millrace_ingest"));
    let client = fixture
        .open(&[
            ("DATABASE_URL", &url),
            ("AWS_ENDPOINT_URL_SQS", &format!("http://127.0.0.1:{}", queue.port())),
            ("MILLRACE_DATABASE_TIMEOUT", "300 ms"),
            ("MILLRACE_LOG", level),
        ])
        .await;
    assert_eq!(provoke(&client).await, [202, 400, 401, 404].into(), "{level}");
    database.refuse();
    assert_eq!(provoke(&client).await, [202, 400, 401, 404].into(), "{level}");
    queue.refuse();
    assert_eq!(provoke(&client).await, [400, 401, 404, 503].into(), "{level}");
    let logs = client.function.logs();
    for expected in ["answered", "not verified", "refused", "delivery not stored", "\"_aws\""] {
        assert!(logs.iter().any(|line| line.contains(expected)), "{level}: {expected} is not logged");
    }
    let secrets = [millrace_tests::postgres::ROLE_PASSWORD, super::fixture::secret("orders")];
    for canary in CANARIES.iter().chain(&secrets) {
        let told: Vec<&String> = logs.iter().filter(|line| line.contains(canary)).take(3).collect();
        assert!(told.is_empty(), "{level}: {canary} in {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_log_lines_contain_nothing_of_a_delivery() {
    assert_nothing_is_logged_at("warn,millrace=trace,ingest_webhook=trace").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn debug_logs_contain_nothing_of_a_delivery() {
    assert_nothing_is_logged_at("debug").await;
}
