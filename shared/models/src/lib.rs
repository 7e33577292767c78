//! Models: SQL files, from raw events to facts, rollups and views.
//!
//! # Layout, in the order of the data
//!
//! - [`model`]: the content of a file in `pipeline/models/`, as plain types.
//! - [`project`]: reads, parses, checks and orders the folder, without a database.
//! - [`graph`]: the models as a graph; [`plan`]: the changes that a deployment would make.
//! - [`deploy`]: creates and alters tables and views to match the files.
//! - [`registry`]: the deployed models, and the lock that a deployment holds.
//! - [`derived`]: rollups, materialized views and views: their invalidation and recomputation.
//! - [`facts`]: runs models over events, for every caller below, and quarantines the events that they refuse.
//! - [`transform`]: claims unprocessed batches and writes their facts, exactly once.
//! - [`quarantine`]: the events that a model refused; [`redrive`]: runs the model again over their dead letters.
//! - [`backfill`]: runs a model over history, in place or into a new table that then replaces the old one.
//! - [`refresh`]: refreshes every relation derived from facts.
//! - [`testing`]: runs the tests of models over all rows.
//! - [`runs`], [`notify`]: the record of runs in `pipeline.runs`, and notifications.
//! - [`columns`]: the columns of relations in `facts`.
//! - [`work`], [`sql`]: the settings of every transaction; statements, and names and values in generated SQL.

pub mod backfill;
mod check;
pub mod columns;
pub mod deploy;
pub mod derived;
pub mod facts;
pub mod graph;
mod header;
pub mod model;
pub mod notify;
pub mod plan;
mod problem;
pub mod project;
pub mod quarantine;
mod query;
pub mod redrive;
pub mod refresh;
pub mod registry;
pub mod runs;
pub mod sql;
pub mod testing;
pub mod transform;
pub mod work;
