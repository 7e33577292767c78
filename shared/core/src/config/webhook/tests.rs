use http::{HeaderName, HeaderValue};
use proptest::prelude::*;
use ring::digest::{SHA256, digest};

use super::*;
use crate::config::names::check_name;
use crate::config::sources::Sources;

fn source(text: &str) -> WebhookSource {
    let text = format!("[a.webhook]\nsecret = 'env:A'\n{text}");
    Sources::parse("s", &text).unwrap().webhook("a").unwrap().clone()
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    };
    pairs.iter().map(pair).collect()
}

#[test]
fn every_presets_delivery_is_known_as_its_sender_knows_it() {
    let body_key = |body: &str| format!("body:{}", hex::encode(digest(&SHA256, body.as_bytes())));
    let cases = [
        ("standard", &[("Webhook-Id", "msg_1")][..], r#"{"type": "a.b"}"#, "msg_1", "a.b"),
        ("standard", &[("svix-id", "msg_2")], r#"{"type": "a.b"}"#, "msg_2", "a.b"),
        (
            "github",
            &[("X-GitHub-Delivery", "72d3162e-cc78"), ("X-GitHub-Event", "pull_request")],
            r#"{"action": "opened"}"#,
            "72d3162e-cc78",
            "pull_request.opened",
        ),
        (
            "github",
            &[("x-github-delivery", "7"), ("x-github-event", "push")],
            r#"{"ref": "main"}"#,
            "7",
            "push",
        ),
        ("stripe", &[], r#"{"id": "evt_1", "type": "invoice.paid"}"#, "evt_1", "invoice.paid"),
        (
            "shopify",
            &[("X-Shopify-Webhook-Id", "b54557e4"), ("X-Shopify-Topic", "orders/create")],
            "{}",
            "b54557e4",
            "orders.create",
        ),
        (
            "slack",
            &[],
            r#"{"type": "event_callback", "event_id": "Ev1", "event": {"type": "app_mention"}}"#,
            "Ev1",
            "app_mention",
        ),
    ];
    for (preset, pairs, body, id, name) in cases {
        let source = source(&format!("preset = '{preset}'"));
        let (headers, body) = (headers(pairs), body.as_bytes());
        let identity = source.identify(&headers, body, body);
        assert_eq!(identity.delivery_id, id, "{preset}");
        assert_eq!(source.event_type(&headers, &[body]), name, "{preset}");
        let mut keys = vec![format!("id:{id}")];
        if preset == "shopify" {
            keys.push(body_key(std::str::from_utf8(body).unwrap()));
        }
        assert_eq!(identity.dedupe_keys, keys, "{preset}");
    }
}

#[test]
fn without_an_id_a_delivery_is_known_by_its_body() {
    let hash = "a948904f2f0f479b8f8197694b30184b0d2ed1c1cd2a1ec0fb85d299a192a447";
    for text in ["preset = 'bearer'", "preset = 'stripe'", "preset = 'github'\ndedupe = 'id'"] {
        let identity = source(text).identify(&HeaderMap::new(), b"hello world\n", b"hello world\n");
        assert_eq!(identity.delivery_id, format!("sha256:{hash}"), "{text}");
        assert_eq!(identity.dedupe_keys, [format!("body:{hash}")], "{text}");
    }
}

#[test]
fn rules_are_tried_in_turn() {
    let source = source(
        "preset = 'bearer'\ndelivery_id = ['header:X-Tenant + pointer:/id', 'pointer:/key', 'body']\n
         event_type = ['header:X-Kind', 'pointer:/kind', 'order']",
    );
    let id = |headers: &HeaderMap, body: &str| {
        source.identify(headers, body.as_bytes(), body.as_bytes()).delivery_id
    };
    let tenant = headers(&[("x-tenant", "t1"), ("x-kind", "A")]);
    assert_eq!(id(&tenant, r#"{"id": 7, "key": "k"}"#), "t1 7");
    assert_eq!(id(&HeaderMap::new(), r#"{"id": 7, "key": "k"}"#), "k");
    assert!(id(&tenant, r#"{"key": null}"#).starts_with("sha256:"));
    assert_eq!(source.event_type(&tenant, &[b"{}"]), "A");
    let record: &[u8] = br#"{"kind": "B"}"#;
    assert_eq!(source.event_type(&HeaderMap::new(), &[record, br#"{"kind": "C"}"#]), "B");
    assert_eq!(source.event_type(&HeaderMap::new(), &[b"{}", br#"{"kind": "C"}"#]), "C");
    assert_eq!(source.event_type(&HeaderMap::new(), &[b"{}"]), "order");
    let twice: HeaderMap = [("x-kind", "A"), ("x-kind", "B")]
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .into_iter()
        .collect();
    assert_eq!(source.event_type(&twice, &[b"{}"]), "order");
}

#[test]
fn ids_of_cloudevents_are_unique_to_their_source_alone() {
    let source = source("preset = 'bearer'\ncontent = 'cloudevents'");
    let binary = headers(&[("ce-id", "1"), ("ce-source", "/shop"), ("ce-type", "com.shop.paid")]);
    assert_eq!(source.identify(&binary, b"{}", b"{}").delivery_id, "/shop 1");
    assert_eq!(source.event_type(&binary, &[b"{}"]), "com.shop.paid");
    let structured = br#"{"specversion": "1.0", "id": "1", "source": "/till", "type": "com.till.paid"}"#;
    assert_eq!(source.identify(&HeaderMap::new(), structured, structured).delivery_id, "/till 1");
    assert_eq!(source.event_type(&HeaderMap::new(), &[structured]), "com.till.paid");
}

#[test]
fn an_id_that_no_database_takes_is_hashed() {
    let source = source("preset = 'stripe'");
    for body in [format!("{{\"id\": \"{}\"}}", "x".repeat(256)), r#"{"id": "a\u0000b"}"#.to_owned()] {
        let identity = source.identify(&HeaderMap::new(), body.as_bytes(), body.as_bytes());
        assert_eq!((identity.delivery_id.len(), &identity.delivery_id[..7]), (71, "sha256:"));
        assert_eq!(identity.dedupe_keys, [format!("id:{}", identity.delivery_id)]);
    }
}

proptest! {
    #[test]
    fn every_event_type_is_a_name(word in any::<String>()) {
        let source = source("preset = 'stripe'");
        let body = serde_json::json!({ "type": word }).to_string();
        prop_assert_eq!(check_name(&source.event_type(&HeaderMap::new(), &[body.as_bytes()])), Ok(()));
    }

    #[test]
    fn any_delivery_has_an_identity(body in any::<Vec<u8>>(), value in any::<Vec<u8>>()) {
        let source = source("preset = 'github'");
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            headers.insert("x-github-delivery", value);
        }
        let identity = source.identify(&headers, &body, &body);
        prop_assert!(identity.dedupe_keys.iter().all(|key| key.len() <= 300 && !key.contains('\0')));
    }
}
