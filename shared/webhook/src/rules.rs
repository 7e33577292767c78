//! Rules: what identifies a delivery, and what names the type of an event.

use std::fmt;

use millrace_jsonb::Pointer;

/// The event type of what no rule gives one.
pub const UNNAMED_EVENT_TYPE: &str = "event";

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

/// When a delivery counts as one that came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dedupe {
    /// Its id is known.
    Id,
    /// Its id or its body is known. For senders that do not sign the id: whoever has seen one delivery could send it again
    /// under a new id.
    IdAndBody,
}
