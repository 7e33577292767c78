//! Lambda: refreshes rollups and materialized views after facts change.
//!
//! # Layout
//!
//! - [`handler`]: handles an invocation, from its models to its summary. The work itself is in
//!   `millrace_models::refresh`.
//! - [`settings`]: the environment variables.

mod handler;
mod settings;

pub use handler::Refresh;
pub use settings::Settings;
