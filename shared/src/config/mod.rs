//! Settings: what the environment says and what a user declares in `sources.toml`.
//!
//! # Layout
//!
//! - [`environment`]: the environment read once, with every bad variable reported at once.
//! - [`csv`]: what can be declared about CSV files; plain types with defaults.
//! - [`sources`]: `sources.toml`, and the route from an object's key to a source.
//!
//! `docs/configuration.md` lists every variable and every key.

pub mod csv;
mod document;
pub mod environment;
mod glob;
pub mod names;
mod nearest;
pub mod sources;

pub use csv::CsvOptions;
pub use sources::{Route, Sources};
