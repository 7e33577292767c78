//! Dead letters of kind `delivery`: webhooks received while the database was unavailable, and records that it refused.

use millrace::dead_letter::DeadLetterKind;
use serde_json::{Value, json};

use super::fixture::{RedriveFixture, counts};
use crate::stack::LONG;

const SOURCES: &str = "[shop.webhook]\npreset = \"bearer\"\nsecret = \"env:SECRET\"\n\
    delivery_id = \"header:X-Delivery\"\nevent_type = [\"header:X-Kind\", \"order\"]\n";
const ORDERS: &str = "-- kind = \"fact\"
-- source = \"shop/*\"
-- key = [\"id\"]
select (payload->>'id')::bigint as id, payload->>'note' as note, event_type from batch";
pub const AWAY: [(&str, &str); 2] = [
    ("DATABASE_URL", "postgresql://millrace_ingest@127.0.0.1:1/x?sslmode=disable"),
    ("MILLRACE_DATABASE_TIMEOUT", "300 ms"),
];

/// Posts a delivery and returns its outcome.
pub async fn deliver(fixture: &RedriveFixture, id: &str, kind: Option<&str>, body: &str) -> String {
    let mut headers =
        json!({ "authorization": "Bearer token", "content-type": "application/json", "x-delivery": id });
    if let Some(kind) = kind {
        headers["x-kind"] = json!(kind);
    }
    let event = json!({
        "version": "2.0", "rawPath": "/webhooks/shop", "headers": headers, "body": body, "isBase64Encoded": false,
        "requestContext": { "http": { "method": "POST", "sourceIp": "127.0.0.1" }, "requestId": "r" },
    });
    let answer = fixture.lambda.get("ingest-webhook").invoke(&event, LONG).await.response();
    assert_eq!(answer["statusCode"], 202, "{answer}");
    let body: Value = serde_json::from_str(answer["body"].as_str().expect("a body")).expect("JSON");
    body["status"].as_str().expect("a status").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_was_queued_is_in_the_facts_once() {
    let fixture = RedriveFixture::new(SOURCES, &[("orders", ORDERS)]).await;
    fixture.deploy("ingest-webhook", &AWAY).await;
    assert_eq!(deliver(&fixture, "1", Some("paid"), r#"{"id": 1, "note": "ü"}"#).await, "queued");
    assert_eq!(deliver(&fixture, "2", None, r#"[{"id": 2}, {"id": 3}]"#).await, "queued");
    assert_eq!(deliver(&fixture, "4", None, r#"{"id": 4}"#).await, "queued");
    let dead_letters = fixture.dead_letters(DeadLetterKind::Delivery).await;
    assert_eq!(dead_letters.len(), 3);
    // The database is still unavailable and the outcome unknown, so the dead letters stay.
    assert_eq!(fixture.redrive_all().await, [0, 0, 0, 0, 3]);
    fixture.deploy("ingest-webhook", &[]).await;
    // The sender has repeated this delivery in the meantime.
    assert_eq!(deliver(&fixture, "4", None, r#"{"id": 4}"#).await, "stored");
    assert_eq!(fixture.redrive_all().await, [2, 1, 0, 0, 0]);
    fixture.repeat(&dead_letters).await;
    assert_eq!(fixture.redrive_all().await, [0, 3, 0, 0, 0]);
    assert_eq!(deliver(&fixture, "1", Some("paid"), r#"{"id": 1, "note": "ü"}"#).await, "duplicate");
    fixture.transform().await;
    assert_eq!(fixture.number("select count(*) from raw_events").await, 4);
    assert_eq!(fixture.number("select count(*) from facts.orders").await, 4);
    // The event type was in a header.
    let paid = "select count(*) from facts.orders where event_type = 'paid' and note = 'ü' and id = 1";
    assert_eq!(fixture.number(paid).await, 1);
    fixture.reconciles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_record_is_stored_once_the_source_allows_repairs() {
    let fixture = RedriveFixture::new(SOURCES, &[("orders", ORDERS)]).await;
    assert_eq!(deliver(&fixture, "1", None, r#"[{"id": 1}, {"id": 2, "note": "a\u0000b"}]"#).await, "stored");
    let dead_letters = fixture.dead_letters(DeadLetterKind::Delivery).await;
    assert_eq!(
        dead_letters.iter().map(|dead_letter| dead_letter.origin.record).collect::<Vec<_>>(),
        [Some(1)]
    );
    assert_eq!(fixture.redrive_all().await, [0, 0, 0, 1, 0]);
    fixture.write_sources(&format!("{SOURCES}invalid_characters = \"replace\"\n"));
    fixture.deploy("ingest-webhook", &[]).await;
    assert_eq!(fixture.redrive_all().await, [1, 0, 0, 0, 0]);
    fixture.repeat(&dead_letters).await;
    assert_eq!(fixture.redrive_all().await, [0, 1, 0, 0, 0]);
    fixture.transform().await;
    assert_eq!(fixture.number("select count(*) from facts.orders").await, 2);
    assert_eq!(fixture.number("select count(*) from facts.orders where note = 'a\u{fffd}b'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_whose_keys_expired_is_not_stored_twice() {
    let fixture = RedriveFixture::new(SOURCES, &[]).await;
    fixture.deploy("ingest-webhook", &AWAY).await;
    deliver(&fixture, "1", None, r#"{"id": 1}"#).await;
    let mut dead_letter = fixture.dead_letters(DeadLetterKind::Delivery).await.remove(0);
    fixture.deploy("ingest-webhook", &[]).await;
    assert_eq!(fixture.redrive_all().await, [1, 0, 0, 0, 0]);
    dead_letter.first_failed_at = "2025-01-01T00:00:00Z".to_owned();
    fixture.repeat(&[dead_letter]).await;
    let summary = fixture.redrive(json!({})).await;
    assert_eq!(counts(&summary), [0, 0, 0, 0, 1]);
    let why = summary["reasons"][0]["message"].as_str().unwrap_or_default();
    assert!(why.contains("remembered for 15 days (dedupe_days)"), "{why}");
    assert_eq!(fixture.number("select count(*) from raw_events").await, 1);
}
