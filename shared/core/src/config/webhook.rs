//! The settings of the webhooks of a source: `[<source>.webhook]`.

use http::HeaderMap;
use millrace_jsonb::{InvalidCharacters, JsonPointer};
use millrace_webhook::{
    Content, Dedupe, DeliveryIdRule, EventTypeRule, Identity, Scheme, UNNAMED_EVENT_TYPE, content,
    event_type, identify,
};

use super::names::to_name;
use super::secret_reference::SecretReference;

/// The settings in `[<source>.webhook]`, with the defaults of the preset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSource {
    /// The name of the source, which is the last part of the path of its URL.
    pub name: String,
    pub scheme: Scheme,
    /// One, or two during a rotation.
    pub secrets: Vec<SecretReference>,
    /// The first rule that applies to a delivery determines its id. If none applies, the hash of the body is its id.
    pub delivery_id: Vec<DeliveryIdRule>,
    /// The first rule that applies to an event determines its type. If none applies, it is [`UNNAMED_EVENT_TYPE`].
    pub event_type: Vec<EventTypeRule>,
    /// The location of an array in the body. Each element is an event.
    pub records: Option<JsonPointer>,
    pub content: Content,
    pub dedupe: Dedupe,
    /// How long the dedupe keys of a delivery are kept, in days.
    pub dedupe_days: u16,
    pub invalid_characters: InvalidCharacters,
}

impl WebhookSource {
    /// The preset's defaults. `scheme` carries its own settings.
    pub(super) fn new(name: &str, scheme: Scheme, content: Content) -> Self {
        let preset = scheme.preset();
        WebhookSource {
            name: name.to_owned(),
            scheme,
            secrets: Vec::new(),
            delivery_id: preset.delivery_id(content),
            event_type: preset.event_type(content),
            records: None,
            content,
            dedupe: preset.dedupe(),
            // Stripe and GitHub repeat deliveries for three days.
            dedupe_days: 15,
            invalid_characters: InvalidCharacters::Reject,
        }
    }
    /// How a body is split into records.
    pub fn body_options(&self) -> content::BodyOptions<'_> {
        content::BodyOptions {
            content: self.content,
            records: self.records.as_ref(),
            invalid_characters: self.invalid_characters,
        }
    }

    /// The identity of an accepted delivery. `document` is the body as JSON, in which pointers are looked up.
    pub fn identify(&self, headers: &HeaderMap, body: &[u8], document: &[u8]) -> Identity {
        identify(&self.delivery_id, self.dedupe, headers, body, document)
    }

    /// The type of an event, a valid name. A pointer is looked up in each of `documents` in turn: first the record, then
    /// the whole body.
    pub fn event_type(&self, headers: &HeaderMap, documents: &[&[u8]]) -> String {
        let text = event_type(&self.event_type, headers, documents);
        text.and_then(|text| to_name(&text)).unwrap_or_else(|| UNNAMED_EVENT_TYPE.to_owned())
    }
}

#[cfg(test)]
mod tests;
