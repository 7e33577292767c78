//! Lambda: stores a webhook as rows of `raw_events`. A delivery is verified, deduplicated, and durable before the
//! response.
//!
//! # Layout, in the order of a delivery
//!
//! - [`handler`]: handles an invocation; [`settings`]: the environment variables.
//! - [`request`]: the request from API Gateway or a function URL.
//! - [`secrets`]: fetches and caches a source's secrets.
//! - [`verify`]: verifies a delivery by its headers, raw body, keys and the clock; and signs, for senders and tests.
//! - [`authenticate`](mod@authenticate): verifies with the source's secrets, which are fetched again once when none
//!   matches.
//! - [`content`]: splits a body into records.
//! - [`identity`]: the dedupe keys of a delivery, and the types of its events.
//! - [`store`]: stores deliveries in the database, many in one commit.
//! - [`dead_letters`]: the dead letters of deliveries and records that the database does not accept.
//! - [`redrive`]: redrives dead letters.
//! - [`answer`], [`problem`]: the response to the sender.

pub mod answer;
pub mod authenticate;
pub mod content;
mod dead_letters;
pub mod handler;
pub mod identity;
mod lookup;
pub mod problem;
pub mod redrive;
pub mod request;
pub mod secrets;
pub mod settings;
pub mod store;
pub mod verify;

pub use authenticate::authenticate;
pub use handler::IngestWebhook;
pub use settings::Settings;
