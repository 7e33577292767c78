//! Models: SQL files, from raw events to facts, rollups and views.
//!
//! # Layout, in the order of the data
//!
//! - [`model`]: what a file of `pipeline/models/` says, as plain types.
//! - [`project`]: the folder read, parsed, checked and ordered; no database.
//! - [`sql`]: names and values written into generated SQL.

pub mod model;
pub mod project;
pub mod sql;
