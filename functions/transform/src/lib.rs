//! Lambda: raw events become facts, exactly once.
//!
//! # Layout
//!
//! - [`handler`]: an invocation, from its models to its summary. The work itself is in `millrace_models::transform`.
//! - [`settings`]: the environment.

pub mod handler;
pub mod settings;

pub use handler::Transform;
pub use settings::Settings;
