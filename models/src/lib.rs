//! Models: SQL files, from raw events to facts, rollups and views.
//!
//! # Layout, in the order of the data
//!
//! - [`model`]: what a file of `pipeline/models/` says, as plain types.
//! - [`project`]: the folder read, parsed, checked and ordered; no database.
//! - [`deploy`]: tables and views made, and brought up to the files.
//! - [`facts`]: a model over events, without those it cannot take.
//! - [`transform`]: what waits, claimed and turned into facts, exactly once.
//! - [`runs`], [`notify`]: what was done, for those who ask and those who listen.
//! - [`work`], [`sql`]: the settings of every transaction; names and values in generated SQL.

mod check;
pub mod deploy;
pub mod facts;
mod header;
pub mod model;
pub mod notify;
mod problem;
pub mod project;
mod query;
pub mod runs;
pub mod sql;
pub mod transform;
pub mod work;
