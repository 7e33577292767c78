//! Signs a body like its sender, with the id and event type in the headers of the preset.

use std::path::Path;
use std::time::SystemTime;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use millrace::config::WebhookSource;
use millrace::config::environment::Secret;
use millrace::{Code, Error, Kind, Result};
use millrace_webhook::verify::sign;
use millrace_webhook::{Content, DeliveryIdRule, EventTypeRule, Scheme, ValueLocation};

/// The values that a sender chooses.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    pub id: Option<&'a str>,
    pub event_type: Option<&'a str>,
    /// The id, unless the user sets one.
    pub new_id: &'a str,
}

/// The headers of a delivery with `body`.
///
/// # Errors
/// When an id or event type is given that is not in a header of this preset but in the body.
pub fn headers(
    source: &WebhookSource,
    secret: &Secret,
    file: &Path,
    body: &[u8],
    choice: Choice<'_>,
    now: SystemTime,
) -> Result<HeaderMap> {
    let id = choice.id.unwrap_or(choice.new_id);
    let mut headers = sign(&source.scheme, secret, id, body, now)
        .map_err(|error| Error::new(Kind::Config, error.to_string()).with_code(Code::BadSecret))?;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(source.content, file, body)));
    headers.insert(USER_AGENT, HeaderValue::from_static("millrace-send"));

    let id_header = source.delivery_id.iter().find_map(|rule| match rule {
        DeliveryIdRule::Places(places) => only_header(places),
        DeliveryIdRule::Body => None,
    });
    match (id_header, choice.id, &source.scheme) {
        (Some(name), _, _) => insert(&mut headers, name, id)?,
        // The signature covers the id in the header.
        (None, None, _) | (None, _, Scheme::Standard { .. }) => {}
        (None, Some(_), _) => return Err(in_the_body(source, "--id", "delivery_id")),
    }
    let type_header = source.event_type.iter().find_map(|rule| match rule {
        EventTypeRule::Places(places) => places.first().and_then(header_name),
        EventTypeRule::Constant(_) => None,
    });
    match (type_header, choice.event_type) {
        (Some(name), Some(event_type)) => insert(&mut headers, name, event_type)?,
        (_, None) => {}
        (None, Some(_)) => return Err(in_the_body(source, "--event-type", "event_type")),
    }
    Ok(headers)
}

/// The header with the event type, if the preset has one.
pub fn event_type_header(source: &WebhookSource) -> Option<&str> {
    source.event_type.iter().find_map(|rule| match rule {
        EventTypeRule::Places(places) => places.first().and_then(header_name),
        EventTypeRule::Constant(_) => None,
    })
}

fn only_header(places: &[ValueLocation]) -> Option<&str> {
    match places {
        [place] => header_name(place),
        _ => None,
    }
}

fn header_name(place: &ValueLocation) -> Option<&str> {
    match place {
        ValueLocation::Header(name) => Some(name),
        ValueLocation::Pointer(_) => None,
    }
}

fn insert(headers: &mut HeaderMap, name: &str, value: &str) -> Result<()> {
    let wrong = |what: &str| Error::new(Kind::Config, format!("{what} cannot be sent in a header"));
    let header = HeaderName::try_from(name).map_err(|_| wrong(&format!("`{name}`")))?;
    let value = HeaderValue::try_from(value).map_err(|_| wrong(&format!("the value for `{name}`")))?;
    headers.insert(header, value);
    Ok(())
}

fn in_the_body(source: &WebhookSource, argument: &str, key: &str) -> Error {
    Error::new(
        Kind::Config,
        format!("source {} has no header for {argument}: its `{key}` comes from the body", source.name),
    )
}

/// The content type that the source declares, otherwise detected from the name of the file or its first character.
fn content_type(content: Content, file: &Path, body: &[u8]) -> &'static str {
    const FORM: &str = "application/x-www-form-urlencoded";
    match content {
        Content::Json => "application/json",
        Content::Ndjson => "application/x-ndjson",
        Content::Form => FORM,
        Content::Cloudevents => "application/cloudevents+json",
        Content::Auto => match file.extension().and_then(|extension| extension.to_str()) {
            Some("ndjson" | "jsonl") => "application/x-ndjson",
            Some("json") => "application/json",
            _ if matches!(body.trim_ascii_start().first(), Some(b'a'..=b'z' | b'A'..=b'Z'))
                && body.contains(&b'=') =>
            {
                FORM
            }
            _ => "application/json",
        },
    }
}

#[cfg(test)]
mod tests {
    use millrace::config::Sources;
    use millrace_webhook::Preset;
    use millrace_webhook::verify::{Keys, Verification, verify};

    use super::*;

    #[test]
    fn a_sample_of_every_preset_is_accepted_as_what_it_is() {
        let sources =
            Sources::parse("s", include_str!("../../pipeline/sources.toml")).expect("the sample is right");
        let now = SystemTime::now();
        for preset in Preset::ALL {
            let source = sources.find_webhook(preset.name()).unwrap();
            let secret = Secret::from(match preset {
                Preset::Standard => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                Preset::Basic => "user:password",
                _ => "a secret",
            });
            let body = br#"{"id": "evt_1", "type": "a.b", "event_id": "Ev1", "event": {"type": "c"}}"#;
            let in_header = event_type_header(source).is_some();
            let choice =
                Choice { id: None, event_type: in_header.then_some("orders/create"), new_id: "new-1" };
            let headers = headers(source, &secret, Path::new("a.json"), body, choice, now).unwrap();
            let keys = Keys::new(&source.scheme, &[secret]).unwrap();
            let verification = verify(&source.scheme, &headers, body, &keys, now);
            assert!(matches!(verification, Verification::Accepted(_)), "{preset}: {verification:?}");

            let id = source.identify(&headers, body, body).delivery_id;
            let event_type = source.event_type(&headers, &[body]);
            let (expected_id, expected_type) = match preset {
                Preset::Standard => ("new-1", "a.b"),
                Preset::Github | Preset::Shopify => ("new-1", "orders.create"),
                Preset::Stripe => ("evt_1", "a.b"),
                Preset::Slack => ("Ev1", "c"),
                _ => ("sha256:", "event"),
            };
            assert!(id.starts_with(expected_id), "{preset}: {id}");
            assert_eq!(event_type, expected_type, "{preset}");
        }
    }

    #[test]
    fn what_is_said_in_the_body_cannot_be_said_in_a_header() {
        let sources = Sources::parse("s", "[a.webhook]\npreset = 'stripe'\nsecret = 'env:A'").unwrap();
        let source = sources.find_webhook("a").unwrap();
        for choice in [
            Choice { id: Some("1"), event_type: None, new_id: "2" },
            Choice { id: None, event_type: Some("a"), new_id: "2" },
        ] {
            let now = SystemTime::now();
            let error = headers(source, &Secret::from("x"), Path::new("-"), b"{}", choice, now).unwrap_err();
            assert!(error.message().contains("comes from the body"), "{error}");
        }
    }

    #[test]
    fn the_content_type_is_what_the_body_is() {
        let auto = |file: &str, body: &[u8]| content_type(Content::Auto, Path::new(file), body);
        assert_eq!(auto("a.json", b"a=b"), "application/json");
        assert_eq!(auto("a.ndjson", b"{}"), "application/x-ndjson");
        assert_eq!(auto("-", b"{\"a\": \"=\"}"), "application/json");
        assert_eq!(auto("-", b"command=%2Fweather&text=a"), "application/x-www-form-urlencoded");
        assert_eq!(content_type(Content::Cloudevents, Path::new("a"), b""), "application/cloudevents+json");
    }
}
