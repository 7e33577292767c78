//! The responses to wrong requests, and the function's own maintenance of partitions and keys.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::json;

use super::client::{Form, TIME, request};
use super::fixture::{WebhookFixture, signed};

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_path_or_method_is_refused() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[]).await;
    let send = async |method: &str, path: &str| {
        client.send(&request(method, path, &signed("bearer", "1", b"{}"), b"{}", Form::Plain), TIME).await
    };
    for source in ["nobody", "Bearer", "bearer'--", "b%00", "%ff", &"x".repeat(500)] {
        let reply = send("POST", &format!("/webhooks/{source}")).await;
        assert_eq!(reply.status, 404, "{source}");
    }
    send("POST", "/webhooks/nobody").await.is_problem(404, "unknown-source");
    for path in
        ["/", "", "/webhooks", "/webhooks/", "/webhooks/bearer/more", "/a/b/webhooks/bearer", "/hooks/bearer"]
    {
        send("POST", path).await.is_problem(404, "unknown-path");
    }
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "HEAD", "post"] {
        let reply = send(method, "/webhooks/bearer").await;
        reply.is_problem(405, "method-not-allowed");
        assert_eq!(reply.headers["allow"], "POST");
    }
    assert_eq!(fixture.row_count().await, 0);
    // With a stage, a base path or a trailing slash it is the same path.
    for path in ["/webhooks/bearer", "/prod/webhooks/bearer", "/webhooks/bearer/"] {
        assert_eq!(send("POST", path).await.status, 202, "{path}");
    }
    assert_eq!(fixture.row_count().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_body_is_refused_with_its_problem() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[]).await;
    let post = async |kind: &str, body: &[u8]| {
        let mut headers = signed("bearer", "1", body);
        headers.insert(CONTENT_TYPE, kind.parse().expect("a value"));
        client.post("bearer", &headers, body, Form::Base64).await
    };
    for body in [&b"{"[..], b"{}{}", b"{'a':1}", b"NaN", b"<a/>", b"\xff", b"[1,]", b"canary"] {
        let reply = post("application/json", body).await;
        reply.is_problem(400, "malformed-body");
        assert!(!reply.body.to_string().contains("canary"));
    }
    let reply = post("application/x-ndjson", b"{}\n{}\n{\"a\":}\n").await;
    reply.is_problem(400, "malformed-body");
    assert!(reply.body["detail"].as_str().expect("a detail").contains("Line 3"), "{reply:?}");
    for body in [&b""[..], b" \n\t", b"\xef\xbb\xbf"] {
        post("application/json", body).await.is_problem(400, "empty-body");
    }
    for kind in ["text/xml", "multipart/form-data; boundary=x", "image/png", "application/cloudevents+avro"] {
        post(kind, b"{}").await.is_problem(415, "unsupported-media-type");
    }
    let mut headers = signed("bearer", "1", b"{}");
    headers.insert("content-encoding", "gzip".parse().expect("a value"));
    client.post("bearer", &headers, b"{}", Form::Plain).await.is_problem(415, "unsupported-media-type");
    let mut event = request("POST", "/webhooks/bearer", &signed("bearer", "1", b"{}"), b"{}", Form::Base64);
    event["body"] = json!("%%%");
    client.send(&event, TIME).await.is_problem(400, "invalid-base64");
    assert_eq!(fixture.number("select count(*) from staging.deliveries").await, 0);
    // Without a valid signature the response says nothing about the body.
    client.post("bearer", &HeaderMap::new(), b"{", Form::Plain).await.is_problem(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_without_its_secret_is_unavailable_and_the_others_work() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[("SECRET_FIXED", "")]).await;
    for source in ["unset", "fixed"] {
        let headers = signed("bearer", "1", b"{}");
        let reply = client.post(source, &headers, b"{}", Form::Plain).await;
        reply.is_problem(503, "unavailable");
        assert!(reply.headers["retry-after"].parse::<u32>().expect("seconds") > 0);
        assert!(!reply.body.to_string().contains("SECRET"), "{reply:?}");
    }
    client.deliver("bearer", "1", "{}").await.was(202, "stored");
    // The log names what is missing.
    let logs = client.function.logs();
    assert!(
        logs.iter().any(|line| line.contains("missing_secret") && line.contains("SECRET_THAT_IS_NOT_SET"))
    );
    assert_eq!((fixture.row_count().await, fixture.aws.dead_letters().await.len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn slacks_challenge_is_answered_and_never_stored() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[]).await;
    let body = r#"{"token":"t","challenge":"3eZbrw1aB\u0042","type":"url_verification"}"#;
    let reply = client.deliver("slack", "1", body).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, Some("3eZbrw1aBB")));
    let unsigned = client.post("slack", &HeaderMap::new(), body.as_bytes(), Form::Plain).await;
    unsigned.is_problem(401, "unauthorized");
    assert_eq!(fixture.row_count().await, 0);
    // In any other delivery it is an event.
    client.deliver("bearer", "1", body).await.was(202, "stored");
    // Slack's commands are forms.
    let command = b"command=%2Fweather&text=94070+now";
    let mut headers = signed("slack", "2", command);
    headers.insert(CONTENT_TYPE, "application/x-www-form-urlencoded".parse().expect("a value"));
    client.post("slack", &headers, command, Form::Base64).await.was(202, "stored");
    let row = fixture.rows().await.pop().expect("the command");
    assert_eq!(
        (row.event_type.as_str(), row.payload),
        ("weather", json!({ "command": "/weather", "text": "94070 now" }))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_partition_of_the_day_is_created_and_the_delivery_is_stored() {
    let fixture = WebhookFixture::new().await;
    fixture.execute(
        "do $$ declare t regclass; begin
             for t in select inhrelid::regclass from pg_inherits where inhparent = 'staging.events'::regclass loop
                 execute 'drop table ' || t;
             end loop;
         end $$",
    )
    .await;
    let client = fixture.open(&[]).await;
    let posts = (0..20)
        .map(async |n: usize| client.deliver("orders", &n.to_string(), &format!(r#"{{"n":{n}}}"#)).await);
    for reply in futures_util::future::join_all(posts).await {
        reply.was(202, "stored");
    }
    assert_eq!(fixture.counted().await, (0..20).map(|n| (n, 1)).collect());
    assert_eq!(
        fixture.number("select count(*) from pg_inherits where inhparent = 'staging.events'::regclass").await,
        1
    );
    fixture.reconciles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_a_duplicate_until_its_keys_expire() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[]).await;
    client.deliver("shopify", "1", "{}").await.was(202, "stored");
    client.deliver("shopify", "1", "{}").await.was(202, "duplicate");
    let days = "select count(*) from staging.deliveries where expires_at = received_at + interval '15 days'";
    assert_eq!(fixture.number(days).await, 2);
    let expire = async |which: &str| {
        fixture.execute(&format!(
            "update staging.deliveries set expires_at = now() - interval '1 second' where delivery_key like '{which}'"
        ))
        .await;
    };
    // One of its keys has not expired yet.
    expire("body:%").await;
    client.deliver("shopify", "1", "{}").await.was(202, "duplicate");
    expire("%").await;
    client.deliver("shopify", "1", "{}").await.was(202, "stored");
    client.deliver("shopify", "1", "{}").await.was(202, "duplicate");
    assert_eq!((fixture.row_count().await, fixture.number(days).await), (2, 2));
}
