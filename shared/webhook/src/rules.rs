//! Rules: what identifies a delivery, and what names the type of an event.

use std::fmt;

use millrace_jsonb::JsonPointer;

/// The event type of an event to which no rule applies.
pub const UNNAMED_EVENT_TYPE: &str = "event";

/// The location of a value in a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueLocation {
    Header(String),
    /// In a record of the body, or in the body.
    Pointer(JsonPointer),
}

impl fmt::Display for ValueLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueLocation::Header(name) => write!(f, "header:{name}"),
            ValueLocation::Pointer(pointer) => write!(f, "pointer:{pointer}"),
        }
    }
}

/// A rule for the id of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryIdRule {
    /// The values at all of these locations, joined with a space.
    Places(Vec<ValueLocation>),
    /// SHA-256 of the body.
    Body,
}

/// A rule for the type of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventTypeRule {
    /// The values at these locations, joined with a dot. The first is required; the others are omitted when missing.
    Places(Vec<ValueLocation>),
    Constant(String),
}

/// When a delivery is a duplicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dedupe {
    /// Its id was stored before.
    Id,
    /// Its id or its body was stored before. For senders that do not sign the id: anyone who has a copy of a delivery can
    /// send it again with a new id.
    IdAndBody,
}
