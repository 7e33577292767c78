//! Webhooks: is a delivery genuine, was it stored before, and what are its records? Without I/O.
//!
//! # Layout, in the order of a delivery
//!
//! - [`preset`], [`scheme`], [`rules`]: what is known about a sender: its signatures, its ids, its event types.
//! - [`verify`](mod@verify): verifies a delivery by its headers, raw body, keys and the clock; and signs, for senders and tests.
//! - [`content`]: splits a body into records, each with its original JSON text.
//! - [`identity`]: the dedupe keys of a delivery, and the types of its events.

pub mod content;
pub mod identity;
mod lookup;
pub mod preset;
pub mod rules;
pub mod scheme;
pub mod verify;

pub use content::Content;
pub use identity::{Identity, event_type, identify};
pub use preset::Preset;
pub use rules::{Dedupe, DeliveryIdRule, EventTypeRule, UNNAMED_EVENT_TYPE, ValueLocation};
pub use scheme::{Algorithm, Encoding, Scheme};
pub use verify::{Keys, Verification, VerifyRefusal, sign, verify};
