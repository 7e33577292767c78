//! Settings: environment variables and `sources.toml`.
//!
//! # Layout
//!
//! - [`environment`]: reads the environment once and reports all invalid variables in one error.
//! - [`csv`]: the settings of CSV files, with their defaults.
//! - [`webhook`]: the settings of webhooks, with the defaults of each preset; [`secret_reference`]: references to secrets.
//! - [`sources`]: `sources.toml`; determines the source of an object by its key.
//! - [`document`]: reads TOML and reports every problem with its line and column; [`nearest`]: suggests the right name for
//!   a misspelt one.
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
pub use sources::{ObjectRoute, Sources};
pub use webhook::WebhookSource;
