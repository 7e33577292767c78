//! The dedupe keys of a delivery, and the types of its events.

use http::HeaderMap;
use millrace::config::WebhookSource;
use millrace::config::names::{MAX_NAME_BYTES, check_name};
use millrace::config::webhook::{Dedupe, DeliveryIdRule, EventTypeRule, Place, UNNAMED_EVENT_TYPE};
use ring::digest::{SHA256, digest};

use crate::lookup::text_at;

/// The longest id that is stored unchanged, in bytes.
const MAX_ID_BYTES: usize = 255;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The sender's id. It is `sha256:` and 64 digits when the id is the hash of the body, or the hash of an id that is
    /// too long or contains control characters.
    pub delivery_id: String,
    /// A delivery is a duplicate when its source has already stored one with any of these keys. `id:…`, `body:…` with
    /// the SHA-256 of the body in 64 digits, or both.
    pub dedupe_keys: Vec<String>,
}

/// Returns the identity of an accepted delivery. `document` is the body as JSON, in which pointers are looked up.
///
/// A delivery always has an identity: where no rule of the source applies, it is the hash of the body.
pub fn identify(source: &WebhookSource, headers: &HeaderMap, body: &[u8], document: &[u8]) -> Identity {
    let id = source.delivery_id.iter().find_map(|rule| match rule {
        DeliveryIdRule::Body => Some(None),
        DeliveryIdRule::Places(places) => all(places, headers, document).map(Some),
    });
    let hash = || hex::encode(digest(&SHA256, body));
    let Some(id) = id.flatten() else {
        let hash = hash();
        return Identity { delivery_id: format!("sha256:{hash}"), dedupe_keys: vec![format!("body:{hash}")] };
    };
    let mut dedupe_keys = vec![format!("id:{id}")];
    if source.dedupe == Dedupe::IdAndBody {
        dedupe_keys.push(format!("body:{}", hash()));
    }
    Identity { delivery_id: id, dedupe_keys }
}

/// The values at all of `places`, joined, in a form that any database and any log accepts.
fn all(places: &[Place], headers: &HeaderMap, document: &[u8]) -> Option<String> {
    let texts: Option<Vec<String>> =
        places.iter().map(|place| text_in(place, headers, &[document])).collect();
    let id = texts?.join(" ");
    if id.len() <= MAX_ID_BYTES && !id.contains(char::is_control) {
        return Some(id);
    }
    Some(format!("sha256:{}", hex::encode(digest(&SHA256, id.as_bytes()))))
}

/// The type of an event, a valid name. A pointer is looked up in each of `documents` in turn: first the record, then
/// the whole body.
pub fn event_type(source: &WebhookSource, headers: &HeaderMap, documents: &[&[u8]]) -> String {
    let found = source.event_type.iter().find_map(|rule| match rule {
        EventTypeRule::Constant(name) => Some(name.clone()),
        EventTypeRule::Places(places) => {
            let (first, rest) = places.split_first()?;
            let mut text = text_in(first, headers, documents)?;
            for part in rest.iter().filter_map(|place| text_in(place, headers, documents)) {
                text.push('.');
                text.push_str(&part);
            }
            to_name(&text)
        }
    });
    found.unwrap_or_else(|| UNNAMED_EVENT_TYPE.to_owned())
}

fn text_in(place: &Place, headers: &HeaderMap, documents: &[&[u8]]) -> Option<String> {
    match place {
        Place::Header(name) => {
            let mut values = headers.get_all(name).iter();
            let value = values.next()?;
            // A repeated header is ambiguous.
            if values.next().is_some() {
                return None;
            }
            let text = value.to_str().ok()?.trim();
            (!text.is_empty()).then(|| text.to_owned())
        }
        Place::Pointer(pointer) => documents.iter().find_map(|document| text_at(document, pointer)),
    }
}

/// Converts the sender's event type to a name: `orders/create` becomes `orders.create`. `docs/configuration.md` has the
/// rule.
fn to_name(text: &str) -> Option<String> {
    if check_name(text).is_ok() {
        return Some(text.to_owned());
    }
    let name: String = text
        .trim_start_matches(|c: char| !c.is_ascii_alphanumeric())
        .chars()
        .map(|c| match c {
            '/' => '.',
            c if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.') => c,
            _ => '_',
        })
        .collect();
    match name.len() {
        0 => None,
        len if len <= MAX_NAME_BYTES => Some(name),
        // Two long types that differ only at their ends stay distinct.
        _ => {
            let hash = hex::encode(digest(&SHA256, text.as_bytes()));
            Some(format!("{}-{}", &name[..MAX_NAME_BYTES - 9], &hash[..8]))
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use millrace::config::Sources;
    use proptest::prelude::*;

    use super::*;

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
            let identity = identify(&source, &headers, body, body);
            assert_eq!(identity.delivery_id, id, "{preset}");
            assert_eq!(event_type(&source, &headers, &[body]), name, "{preset}");
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
            let identity = identify(&source(text), &HeaderMap::new(), b"hello world\n", b"hello world\n");
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
            identify(&source, headers, body.as_bytes(), body.as_bytes()).delivery_id
        };
        let tenant = headers(&[("x-tenant", "t1"), ("x-kind", "A")]);
        assert_eq!(id(&tenant, r#"{"id": 7, "key": "k"}"#), "t1 7");
        assert_eq!(id(&HeaderMap::new(), r#"{"id": 7, "key": "k"}"#), "k");
        assert!(id(&tenant, r#"{"key": null}"#).starts_with("sha256:"));
        assert_eq!(event_type(&source, &tenant, &[b"{}"]), "A");
        let record: &[u8] = br#"{"kind": "B"}"#;
        assert_eq!(event_type(&source, &HeaderMap::new(), &[record, br#"{"kind": "C"}"#]), "B");
        assert_eq!(event_type(&source, &HeaderMap::new(), &[b"{}", br#"{"kind": "C"}"#]), "C");
        assert_eq!(event_type(&source, &HeaderMap::new(), &[b"{}"]), "order");
        let twice: HeaderMap = [("x-kind", "A"), ("x-kind", "B")]
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .into_iter()
            .collect();
        assert_eq!(event_type(&source, &twice, &[b"{}"]), "order");
    }

    #[test]
    fn ids_of_cloudevents_are_unique_to_their_source_alone() {
        let source = source("preset = 'bearer'\ncontent = 'cloudevents'");
        let binary = headers(&[("ce-id", "1"), ("ce-source", "/shop"), ("ce-type", "com.shop.paid")]);
        assert_eq!(identify(&source, &binary, b"{}", b"{}").delivery_id, "/shop 1");
        assert_eq!(event_type(&source, &binary, &[b"{}"]), "com.shop.paid");
        let structured = br#"{"specversion": "1.0", "id": "1", "source": "/till", "type": "com.till.paid"}"#;
        assert_eq!(identify(&source, &HeaderMap::new(), structured, structured).delivery_id, "/till 1");
        assert_eq!(event_type(&source, &HeaderMap::new(), &[structured]), "com.till.paid");
    }

    #[test]
    fn an_id_that_no_database_takes_is_hashed() {
        let source = source("preset = 'stripe'");
        for body in [format!("{{\"id\": \"{}\"}}", "x".repeat(256)), r#"{"id": "a\u0000b"}"#.to_owned()] {
            let identity = identify(&source, &HeaderMap::new(), body.as_bytes(), body.as_bytes());
            assert_eq!((identity.delivery_id.len(), &identity.delivery_id[..7]), (71, "sha256:"));
            assert_eq!(identity.dedupe_keys, [format!("id:{}", identity.delivery_id)]);
        }
    }

    #[test]
    fn a_senders_word_becomes_a_name() {
        for (word, name) in [
            ("orders/create", Some("orders.create")),
            ("/weather", Some("weather")),
            ("v2.core.account[configuration].updated", Some("v2.core.account_configuration_.updated")),
            ("Über", Some("ber")),
            ("a b", Some("a_b")),
            ("ok", Some("ok")),
            ("…", None),
        ] {
            assert_eq!(to_name(word).as_deref(), name, "{word}");
        }
        let long = |end: &str| to_name(&format!("{}{end}", "a".repeat(70))).unwrap();
        assert_eq!(long("b").len(), 63);
        assert_ne!(long("b"), long("c"));
    }

    proptest! {
        #[test]
        fn every_event_type_is_a_name(word in any::<String>()) {
            let source = source("preset = 'stripe'");
            let body = serde_json::json!({ "type": word }).to_string();
            prop_assert_eq!(check_name(&event_type(&source, &HeaderMap::new(), &[body.as_bytes()])), Ok(()));
        }

        #[test]
        fn any_delivery_has_an_identity(body in any::<Vec<u8>>(), value in any::<Vec<u8>>()) {
            let source = source("preset = 'github'");
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.insert("x-github-delivery", value);
            }
            let identity = identify(&source, &headers, &body, &body);
            prop_assert!(identity.dedupe_keys.iter().all(|key| key.len() <= 300 && !key.contains('\0')));
        }
    }
}
