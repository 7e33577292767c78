//! Lambda: a webhook becomes rows of `raw_events`, verified, deduplicated, durable before it is answered.
//!
//! # Layout, in the order of a delivery
//!
//! - [`handler`]: from a request to its answer; [`settings`]: what the environment says.
//! - [`request`]: what API Gateway or a function URL hands over.
//! - [`secrets`]: where a source's secrets are kept, and the cache of them.
//! - [`verify`]: headers, raw body, keys and clock in, verification out; and the signing half, for senders and tests.
//! - [`authenticate`](mod@authenticate): a verification with the source's own secrets, fetched again once when none matches.
//! - [`content`]: a body cut into records.
//! - [`identity`]: by what a delivery is known again, and what its events are.
//! - [`store`]: deliveries into the database, many in one commit.
//! - [`dead_letters`]: what becomes of a delivery, or a record of it, that the database does not take.
//! - [`redrive`]: dead letters on their way back.
//! - [`answer`], [`problem`]: what the sender is told.

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
