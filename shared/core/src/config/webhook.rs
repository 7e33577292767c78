//! What can be declared about a source's webhooks: `[<source>.webhook]`.

use http::HeaderMap;
use millrace_jsonb::{InvalidCharacters, Pointer};
use millrace_webhook::{
    Content, Dedupe, DeliveryIdRule, EventTypeRule, Identity, Scheme, UNNAMED_EVENT_TYPE, content,
    event_type, identify,
};

use super::names::to_name;
use super::secret_reference::SecretReference;

/// Everything that `[<source>.webhook]` says, with its preset's defaults for what it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSource {
    /// The source's name, the last part of its address.
    pub name: String,
    pub scheme: Scheme,
    /// One, or two while a secret is being replaced.
    pub secrets: Vec<SecretReference>,
    /// The first that a delivery has; without any it is known by its body.
    pub delivery_id: Vec<DeliveryIdRule>,
    /// The first that an event has; without any it is [`UNNAMED_EVENT_TYPE`].
    pub event_type: Vec<EventTypeRule>,
    /// Names the array of records in a body that has one; each is an event.
    pub records: Option<Pointer>,
    pub content: Content,
    pub dedupe: Dedupe,
    /// How long a delivery is remembered, in days.
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
            // Stripe and GitHub deliver again for three days.
            dedupe_days: 15,
            invalid_characters: InvalidCharacters::Reject,
        }
    }
    /// How a body is split into records.
    pub fn body_options(&self) -> content::Options<'_> {
        content::Options {
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
