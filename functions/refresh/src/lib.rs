//! Lambda: rollups and materialized views follow the facts.
//!
//! # Layout
//!
//! - [`handler`]: an invocation, from its models to its summary. The work itself is in `millrace_models::refresh`.
//! - [`settings`]: the environment.

pub mod handler;
pub mod settings;

pub use handler::Refresh;
pub use settings::Settings;
