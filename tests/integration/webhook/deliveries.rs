//! Every preset: correctly signed deliveries are stored once, and no others are stored.

use std::time::{Duration, SystemTime};

use futures_util::stream::{self, StreamExt};
use http::HeaderMap;
use serde_json::{Map, Value, json};

use super::client::{Form, TIME, WebhookClient, request_with, to_map};
use super::fixture::{Row, WebhookFixture, secret, signed, signed_at};

/// A source, a body with a placeholder for a number, and the type of its event.
const SENDERS: [(&str, &str, &str); 9] = [
    ("standard", r#"{"type":"invoice.paid","n":N}"#, "invoice.paid"),
    ("github", r#"{"action":"opened","issue":{"title":"ü","labels":[]},"n":N}"#, "issues.opened"),
    ("stripe", r#"{"id":"evt_N","type":"charge.refunded","n":N}"#, "charge.refunded"),
    ("shopify", "{\"id\": N, \"email\": \"a@example.com\",\n \"total_price\": \"123.45\"}", "orders.create"),
    ("slack", r#"{"type":"event_callback","event_id":"EvN","event":{"type":"app_mention"}}"#, "app_mention"),
    ("hmac", r#"{"n": N, "amount": 12.50}"#, "event"),
    ("bearer", r#"{"n":N,"n":N}"#, "event"),
    ("basic", r#"{"n":N,"text":"\u00fc\ud83d\ude00"}"#, "event"),
    ("api_key", "\u{feff}{\"n\":N}", "event"),
];

fn body(template: &str, n: usize) -> String {
    template.replace('N', &n.to_string())
}

/// Posts these requests, 32 concurrently. Each must be refused. Returns their number.
async fn all_are_refused(client: &WebhookClient, requests: Vec<Value>) -> usize {
    let count = requests.len();
    stream::iter(requests)
        .map(|event| async move {
            let reply = client.send(&event, TIME).await;
            assert_eq!(reply.status, 401, "{event}");
            reply.is_problem(401, "unauthorized");
        })
        .buffer_unordered(32)
        .collect::<Vec<()>>()
        .await;
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_deliveries_of_every_preset_are_stored_once_in_every_gateway_format() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[]).await;
    let mut expected = Vec::new();
    for (number, (source, template, event_type)) in SENDERS.into_iter().enumerate() {
        for (half, form, again) in [(0, Form::Plain, Form::Base64), (1, Form::Base64, Form::Plain)] {
            let body = body(template, 2 * number + half);
            let id = format!("delivery-{number}-{half}");
            let headers = signed(source, &id, body.as_bytes());
            let ids = client.post(source, &headers, body.as_bytes(), form).await.event_ids();
            assert_eq!(ids.len(), 1, "{source}");
            let payload = serde_json::from_str(body.trim_start_matches('\u{feff}')).expect("JSON");
            expected.push(Row {
                id: ids[0],
                source: source.to_owned(),
                event_type: event_type.to_owned(),
                payload,
            });
            let reply = client.post(source, &headers, body.as_bytes(), again).await;
            reply.was(202, "duplicate");
            let known_by = reply.body["delivery_id"].as_str().expect("a delivery's id");
            let by_id = matches!(source, "standard" | "github" | "shopify" | "stripe" | "slack");
            assert_eq!(known_by.starts_with("sha256:"), !by_id, "{source} {known_by}");
        }
    }
    assert_eq!(fixture.rows().await, expected);
    assert_eq!(fixture.number("select count(*) from staging.deliveries").await, 2 * 9 + 2);
    fixture.reconciles().await;
    assert!(fixture.aws.dead_letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn any_flipped_bit_of_a_signed_body_is_refused_and_nothing_is_stored() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[]).await;
    let mut count = 0;
    for (source, template, _) in &SENDERS[..6] {
        let body = body(template, 7).into_bytes();
        let headers = to_map(&signed(source, "id", &body));
        let flipped = (0..body.len() * 8).filter(|bit| bit % 3 == 0).map(|bit| {
            let mut body = body.clone();
            body[bit / 8] ^= 1 << (bit % 8);
            request_with("POST", &format!("/webhooks/{source}"), &headers, &body, Form::Base64)
        });
        count += all_are_refused(&client, flipped.collect()).await;
        // The unchanged body is accepted, so the bit was the cause.
        let whole = request_with("POST", &format!("/webhooks/{source}"), &headers, &body, Form::Base64);
        assert_eq!(client.send(&whole, TIME).await.event_ids().len(), 1, "{source}");
    }
    assert!(count > 500, "{count}");
    assert_eq!(fixture.row_count().await, 6);
}

/// The headers of a signature or credential as `sign` makes them: name, value, and the offset of the proof in it.
fn proofs(source: &str, headers: &HeaderMap) -> Vec<(String, String, usize)> {
    let names: &[&str] = match source {
        "standard" => &["webhook-id", "webhook-timestamp", "webhook-signature"],
        "github" => &["x-hub-signature-256"],
        "stripe" => &["stripe-signature"],
        "shopify" => &["x-shopify-hmac-sha256"],
        "slack" => &["x-slack-request-timestamp", "x-slack-signature"],
        "hmac" => &["x-signature"],
        "api_key" => &["x-api-key"],
        _ => &["authorization"],
    };
    let proof = |name: &&str| {
        let value = headers[*name].to_str().expect("text").to_owned();
        // The scheme's name is case-insensitive.
        let start = if *name == "authorization" { value.find(' ').expect("a scheme") + 1 } else { 0 };
        ((*name).to_owned(), value, start)
    };
    names.iter().map(proof).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_truncated_repeated_or_missing_proof_is_refused() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[]).await;
    let mut count = 0;
    for (source, template, _) in SENDERS {
        let body = body(template, 7).into_bytes();
        let headers = signed(source, "id", &body);
        let mut requests = Vec::new();
        let mut add = |name: &str, value: Option<String>| {
            let mut headers: Map<String, Value> = to_map(&headers);
            match value {
                Some(value) => headers.insert(name.to_owned(), value.into()),
                None => headers.remove(name),
            };
            requests.push(request_with(
                "POST",
                &format!("/webhooks/{source}"),
                &headers,
                &body,
                Form::Base64,
            ));
        };
        for (name, value, start) in proofs(source, &headers) {
            for at in start..value.len() {
                let mut flipped = value.clone().into_bytes();
                // With the eighth bit changed the header would not be text.
                flipped[at] ^= 1 << (at % 7);
                add(&name, Some(String::from_utf8(flipped).expect("text")));
            }
            for changed in ["", &value[..start], &value[..value.len() - 1], &value[..start + 1], "v1,"] {
                add(&name, Some(changed.to_owned()));
            }
            // Where a header may hold several signatures, one of two suffices.
            if name != "webhook-signature" {
                add(&name, Some(format!("{value}, {value}")));
            }
            add(&name, Some(format!("{value}{}", "0".repeat(5_000))));
            add(&name, None);
        }
        count += all_are_refused(&client, requests).await;
    }
    assert!(count > 500, "{count}");
    assert_eq!(fixture.row_count().await, 0);
    assert_eq!(fixture.number("select count(*) from staging.deliveries").await, 0);
    assert!(fixture.aws.dead_letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_deliveries_signed_within_the_time_window_are_accepted() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[]).await;
    let now = SystemTime::now();
    // The clock advances during the test: an old timestamp stays too old, and a future one comes closer.
    let (old, ahead) = (now - Duration::from_secs(301), now + Duration::from_secs(400));
    for (source, template, _) in SENDERS {
        let body = body(template, 7);
        let windowed = matches!(source, "standard" | "stripe" | "slack");
        for (id, at) in [("old", old), ("ahead", ahead)].into_iter().filter(|_| windowed) {
            let headers = signed_at(source, id, body.as_bytes(), at);
            client.post(source, &headers, body.as_bytes(), Form::Plain).await.is_problem(401, "unauthorized");
        }
        let headers = signed_at(source, "recent", body.as_bytes(), now - Duration::from_secs(120));
        client.post(source, &headers, body.as_bytes(), Form::Plain).await.was(202, "stored");
    }
    assert_eq!(fixture.row_count().await, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_another_source_is_refused_and_a_challenge_is_named() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[]).await;
    for (source, challenge) in
        [("bearer", "Bearer realm=\"webhooks\""), ("basic", "Basic realm=\"webhooks\"")]
    {
        let reply = client.post(source, &HeaderMap::new(), b"{}", Form::Plain).await;
        reply.is_problem(401, "unauthorized");
        assert!(reply.headers["www-authenticate"].starts_with(challenge), "{reply:?}");
    }
    for (source, other) in [("bearer", "fixed"), ("fixed", "bearer")] {
        client
            .post(source, &signed(other, "1", b"{}"), b"{}", Form::Plain)
            .await
            .is_problem(401, "unauthorized");
    }
    let reply = client.post("github", &signed("orders", "1", b"{}"), b"{}", Form::Plain).await;
    reply.is_problem(401, "unauthorized");
    assert!(!reply.body.to_string().contains(secret("github")));
    assert_eq!((fixture.row_count().await, reply.headers.get("www-authenticate")), (0, None));
    assert_eq!(json!(reply.body["title"]), "The delivery could not be verified");
}
