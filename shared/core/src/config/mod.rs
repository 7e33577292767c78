//! Settings: environment variables, and the declarations of a user in `sources.toml`.
//!
//! # Layout
//!
//! - [`environment`]: reads the environment once and reports all invalid variables in one error.
//! - [`csv`]: what can be declared about CSV files; plain types with defaults.
//! - [`webhook`]: what can be declared about webhooks, with each preset's defaults; [`secret_reference`]:
//!   references to secrets.
//! - [`sources`]: `sources.toml`, and the route from an object's key to a source.
//! - [`document`]: TOML read with every problem at its line and column; [`nearest`]: the right name for a misspelt one.
//!
//! `docs/configuration.md` lists every variable and every key.

pub mod csv;
pub mod document;
pub mod environment;
mod glob;
pub mod names;
pub mod nearest;
pub mod secret_reference;
pub mod sources;
pub mod webhook;

pub use csv::CsvOptions;
pub use secret_reference::SecretReference;
pub use sources::{Route, Sources};
pub use webhook::WebhookSource;
