//! What can be declared about a source's webhooks: `[<source>.webhook]`.

use std::fmt;
use std::time::Duration;

use super::csv::InvalidCharacters;
use super::pointer::Pointer;
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

/// The event type of what no rule gives one.
pub const UNNAMED_EVENT_TYPE: &str = "event";

/// A known sender, or a kind of sender: decides how a delivery proves where it comes from, and every default.
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

    /// Whether a delivery shows the secret itself.
    pub fn has_credential(self) -> bool {
        matches!(self, Preset::Bearer | Preset::Basic | Preset::ApiKey)
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a delivery proves where it comes from: the preset with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheme {
    /// Standard Webhooks 1.0: HMAC-SHA256 or ed25519 over id, timestamp and body.
    Standard {
        tolerance: Duration,
    },
    Github,
    Stripe {
        tolerance: Duration,
    },
    Shopify,
    Slack {
        tolerance: Duration,
    },
    /// An HMAC of the body in a header.
    Hmac {
        header: String,
        encoding: Encoding,
        /// The prefix of the signature in the header: `sha256=`.
        prefix: String,
        algorithm: Algorithm,
    },
    /// `Authorization: Bearer <secret>`
    Bearer,
    /// `Authorization: Basic <base64 of user:password>`; the secret is `user:password`.
    Basic,
    /// The secret itself in a header.
    ApiKey {
        header: String,
    },
}

impl Scheme {
    pub fn preset(&self) -> Preset {
        match self {
            Scheme::Standard { .. } => Preset::Standard,
            Scheme::Github => Preset::Github,
            Scheme::Stripe { .. } => Preset::Stripe,
            Scheme::Shopify => Preset::Shopify,
            Scheme::Slack { .. } => Preset::Slack,
            Scheme::Hmac { .. } => Preset::Hmac,
            Scheme::Bearer => Preset::Bearer,
            Scheme::Basic => Preset::Basic,
            Scheme::ApiKey { .. } => Preset::ApiKey,
        }
    }

    /// How far a delivery's timestamp may be from now, either way; `None` where nothing is timestamped.
    pub fn tolerance(&self) -> Option<Duration> {
        match self {
            Scheme::Standard { tolerance } | Scheme::Stripe { tolerance } | Scheme::Slack { tolerance } => {
                Some(*tolerance)
            }
            _ => None,
        }
    }
}

/// How the bytes of a signature are written in a header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Encoding {
    #[default]
    Hex,
    Base64,
}

/// The hash below an HMAC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Algorithm {
    #[default]
    Sha256,
    Sha512,
    /// For senders that have nothing better. As an HMAC it is still sound.
    Sha1,
}

/// The location of a value in a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Header(String),
    /// In the body, or in a record of it.
    Pointer(Pointer),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Header(name) => write!(f, "header:{name}"),
            Place::Pointer(pointer) => write!(f, "pointer:{pointer}"),
        }
    }
}

/// One way to know a delivery again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryIdRule {
    /// The values at all of these locations, joined with a space.
    Places(Vec<Place>),
    /// SHA-256 of the body.
    Body,
}

/// One way to name an event's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventTypeRule {
    /// The values at these locations, joined with a dot. The first is required; the others are omitted when missing.
    Places(Vec<Place>),
    Constant(String),
}

/// The format of a body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Content {
    /// The format that `Content-Type` names.
    #[default]
    Auto,
    Json,
    Ndjson,
    Form,
    Cloudevents,
}

/// When a delivery counts as one that came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dedupe {
    /// Its id is known.
    Id,
    /// Its id or its body is known. For senders that do not sign the id: whoever has seen one delivery could send it again
    /// under a new id.
    IdAndBody,
}

impl WebhookSource {
    /// The preset's defaults. `scheme` carries its own settings.
    pub(super) fn new(name: &str, scheme: Scheme, content: Content) -> Self {
        let preset = scheme.preset();
        WebhookSource {
            name: name.to_owned(),
            scheme,
            secrets: Vec::new(),
            delivery_id: default_delivery_id(preset, content),
            event_type: default_event_type(preset, content),
            records: None,
            content,
            dedupe: match preset {
                // Every topic of Shopify carries an id and the time it was changed: an equal body is no second event. GitHub
                // sends equal bodies for different events: blocked, unblocked and blocked again.
                Preset::Shopify => Dedupe::IdAndBody,
                _ => Dedupe::Id,
            },
            // Stripe and GitHub deliver again for three days.
            dedupe_days: 15,
            invalid_characters: InvalidCharacters::Reject,
        }
    }
}

fn header(name: &str) -> Place {
    Place::Header(name.to_owned())
}

fn pointer(steps: &[&str]) -> Place {
    Place::Pointer(Pointer::of(steps))
}

fn default_delivery_id(preset: Preset, content: Content) -> Vec<DeliveryIdRule> {
    let places = |places| DeliveryIdRule::Places(places);
    match preset {
        Preset::Standard => vec![places(vec![header("webhook-id")]), places(vec![header("svix-id")])],
        Preset::Github => vec![places(vec![header("X-GitHub-Delivery")])],
        Preset::Stripe => vec![places(vec![pointer(&["id"])])],
        Preset::Shopify => vec![places(vec![header("X-Shopify-Webhook-Id")])],
        Preset::Slack => vec![places(vec![pointer(&["event_id"])])],
        // An id is unique to its CloudEvents source alone.
        Preset::Hmac | Preset::Bearer | Preset::Basic | Preset::ApiKey if content == Content::Cloudevents => {
            vec![
                places(vec![header("ce-source"), header("ce-id")]),
                places(vec![pointer(&["source"]), pointer(&["id"])]),
            ]
        }
        Preset::Hmac | Preset::Bearer | Preset::Basic | Preset::ApiKey => vec![DeliveryIdRule::Body],
    }
}

fn default_event_type(preset: Preset, content: Content) -> Vec<EventTypeRule> {
    let places = |places| EventTypeRule::Places(places);
    match preset {
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
