//! Presets: known senders, and kinds of senders.

use std::fmt;

use millrace_jsonb::JsonPointer;

use crate::content::Content;
use crate::rules::{Dedupe, DeliveryIdRule, EventTypeRule, UNNAMED_EVENT_TYPE, ValueLocation};

/// A sender, or a kind of sender. Determines how deliveries are authenticated, and the defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    Standard,
    Github,
    Stripe,
    Shopify,
    Slack,
    Hmac,
    Bearer,
    Basic,
    ApiKey,
}

impl Preset {
    pub const ALL: [Preset; 9] = [
        Preset::Standard,
        Preset::Github,
        Preset::Stripe,
        Preset::Shopify,
        Preset::Slack,
        Preset::Hmac,
        Preset::Bearer,
        Preset::Basic,
        Preset::ApiKey,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Preset::Standard => "standard",
            Preset::Github => "github",
            Preset::Stripe => "stripe",
            Preset::Shopify => "shopify",
            Preset::Slack => "slack",
            Preset::Hmac => "hmac",
            Preset::Bearer => "bearer",
            Preset::Basic => "basic",
            Preset::ApiKey => "api_key",
        }
    }

    /// Whether its signatures cover a timestamp, so that an old delivery can be refused.
    pub fn has_window(self) -> bool {
        matches!(self, Preset::Standard | Preset::Stripe | Preset::Slack)
    }

    /// Where its deliveries carry their id.
    pub fn delivery_id(self, content: Content) -> Vec<DeliveryIdRule> {
        let places = |places| DeliveryIdRule::Places(places);
        match self {
            Preset::Standard => vec![places(vec![header("webhook-id")]), places(vec![header("svix-id")])],
            Preset::Github => vec![places(vec![header("X-GitHub-Delivery")])],
            Preset::Stripe => vec![places(vec![pointer(&["id"])])],
            Preset::Shopify => vec![places(vec![header("X-Shopify-Webhook-Id")])],
            Preset::Slack => vec![places(vec![pointer(&["event_id"])])],
            // An id of CloudEvents is only unique within its source.
            Preset::Hmac | Preset::Bearer | Preset::Basic | Preset::ApiKey
                if content == Content::Cloudevents =>
            {
                vec![
                    places(vec![header("ce-source"), header("ce-id")]),
                    places(vec![pointer(&["source"]), pointer(&["id"])]),
                ]
            }
            Preset::Hmac | Preset::Bearer | Preset::Basic | Preset::ApiKey => vec![DeliveryIdRule::Body],
        }
    }

    /// Where its deliveries name the type of their events.
    pub fn event_type(self, content: Content) -> Vec<EventTypeRule> {
        let places = |places| EventTypeRule::Places(places);
        match self {
            _ if content == Content::Cloudevents => {
                vec![places(vec![header("ce-type")]), places(vec![pointer(&["type"])])]
            }
            Preset::Standard | Preset::Stripe => vec![places(vec![pointer(&["type"])])],
            Preset::Github => vec![places(vec![header("X-GitHub-Event"), pointer(&["action"])])],
            Preset::Shopify => vec![places(vec![header("X-Shopify-Topic")])],
            // An event, a slash command, then everything else that Slack sends.
            Preset::Slack => vec![
                places(vec![pointer(&["event", "type"])]),
                places(vec![pointer(&["command"])]),
                places(vec![pointer(&["type"])]),
            ],
            Preset::Hmac | Preset::Bearer | Preset::Basic | Preset::ApiKey => {
                vec![EventTypeRule::Constant(UNNAMED_EVENT_TYPE.to_owned())]
            }
        }
    }

    /// What its deliveries are deduplicated by.
    pub fn dedupe(self) -> Dedupe {
        match self {
            // Every topic of Shopify carries an id and the time it was changed: an equal body is no second event. GitHub
            // sends equal bodies for different events: blocked, unblocked and blocked again.
            Preset::Shopify => Dedupe::IdAndBody,
            _ => Dedupe::Id,
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn header(name: &str) -> ValueLocation {
    ValueLocation::Header(name.to_owned())
}

fn pointer(steps: &[&str]) -> ValueLocation {
    ValueLocation::Pointer(JsonPointer::of(steps))
}
