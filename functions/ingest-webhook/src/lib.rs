//! Lambda: stores a webhook as rows of `raw_events`. A delivery is verified, deduplicated, and durable before the
//! response.
//!
//! [`millrace_webhook`] verifies and identifies deliveries, with the secrets of [`millrace::secrets`].
//!
//! # Layout, in the order of a delivery
//!
//! - [`handler`]: handles an invocation; [`settings`]: the environment variables.
//! - [`request`]: the request from API Gateway or a function URL.
//! - [`store`]: stores deliveries in the database, many in one commit.
//! - [`dead_letters`]: the dead letters of deliveries and records that the database does not accept.
//! - [`redrive`]: redrives dead letters.
//! - [`response`], [`problem`]: the response to the sender.

mod dead_letters;
mod handler;
pub mod problem;
mod redrive;
pub mod request;
mod response;
mod settings;
pub mod store;

pub use handler::IngestWebhook;
pub use settings::Settings;
