//! Lambda: transforms raw events into facts, exactly once.
//!
//! # Layout
//!
//! - [`handler`]: handles an invocation, from its models to its summary. The work itself is in
//!   `millrace_models::transform`.
//! - [`settings`]: the environment variables.

mod handler;
mod settings;

pub use handler::Transform;
pub use settings::Settings;
