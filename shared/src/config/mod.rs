//! Settings: what the environment says and what a user declares in `sources.toml`.
//!
//! # Layout
//!
//! - [`environment`]: the environment read once, with every bad variable reported at once.
//! - [`csv`]: what can be declared about CSV files; plain types with defaults.
//! - [`webhook`]: what can be declared about webhooks, with each preset's defaults; [`secret_reference`]: where a secret
//!   is kept; [`pointer`]: where a value stands in a JSON document.
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
pub mod pointer;
pub mod secret_reference;
pub mod sources;
pub mod webhook;

pub use csv::CsvOptions;
pub use pointer::Pointer;
pub use secret_reference::SecretReference;
pub use sources::{Route, Sources};
pub use webhook::WebhookSource;
