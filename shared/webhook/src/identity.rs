//! The dedupe keys of a delivery, and the types of its events.

use crate::rules::{Dedupe, DeliveryIdRule, EventTypeRule, ValueLocation};
use http::HeaderMap;
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
/// A delivery always has an identity: where no rule applies, it is the hash of the body.
pub fn identify(
    rules: &[DeliveryIdRule],
    dedupe: Dedupe,
    headers: &HeaderMap,
    body: &[u8],
    document: &[u8],
) -> Identity {
    let id = rules.iter().find_map(|rule| match rule {
        DeliveryIdRule::Body => Some(None),
        DeliveryIdRule::Places(places) => all(places, headers, document).map(Some),
    });
    let hash = || hex::encode(digest(&SHA256, body));
    let Some(id) = id.flatten() else {
        let hash = hash();
        return Identity { delivery_id: format!("sha256:{hash}"), dedupe_keys: vec![format!("body:{hash}")] };
    };
    let mut dedupe_keys = vec![format!("id:{id}")];
    if dedupe == Dedupe::IdAndBody {
        dedupe_keys.push(format!("body:{}", hash()));
    }
    Identity { delivery_id: id, dedupe_keys }
}

/// The values at all of `places`, joined, in a form that any database and any log accepts.
fn all(places: &[ValueLocation], headers: &HeaderMap, document: &[u8]) -> Option<String> {
    let texts: Option<Vec<String>> =
        places.iter().map(|place| text_in(place, headers, &[document])).collect();
    let id = texts?.join(" ");
    if id.len() <= MAX_ID_BYTES && !id.contains(char::is_control) {
        return Some(id);
    }
    Some(format!("sha256:{}", hex::encode(digest(&SHA256, id.as_bytes()))))
}

/// The type of an event, as its sender writes it. The first rule applies that yields a text with an ASCII letter or
/// digit; `None` when no rule does. A pointer is looked up in each of `documents` in turn: first the record, then the
/// whole body.
pub fn event_type(rules: &[EventTypeRule], headers: &HeaderMap, documents: &[&[u8]]) -> Option<String> {
    rules.iter().find_map(|rule| match rule {
        EventTypeRule::Constant(name) => Some(name.clone()),
        EventTypeRule::Places(places) => {
            let (first, rest) = places.split_first()?;
            let mut text = text_in(first, headers, documents)?;
            for part in rest.iter().filter_map(|place| text_in(place, headers, documents)) {
                text.push('.');
                text.push_str(&part);
            }
            text.contains(|c: char| c.is_ascii_alphanumeric()).then_some(text)
        }
    })
}

fn text_in(place: &ValueLocation, headers: &HeaderMap, documents: &[&[u8]]) -> Option<String> {
    match place {
        ValueLocation::Header(name) => {
            let mut values = headers.get_all(name).iter();
            let value = values.next()?;
            // A repeated header is ambiguous.
            if values.next().is_some() {
                return None;
            }
            let text = value.to_str().ok()?.trim();
            (!text.is_empty()).then(|| text.to_owned())
        }
        ValueLocation::Pointer(pointer) => documents.iter().find_map(|document| text_at(document, pointer)),
    }
}
