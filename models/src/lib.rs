//! Models: SQL files, from raw events to facts, rollups and views.
//!
//! # Layout, in the order of the data
//!
//! - [`model`]: what a file of `pipeline/models/` says, as plain types.
//! - [`project`]: the folder read, parsed, checked and ordered; no database.
//! - [`graph`]: the models as a picture; [`plan`]: what deploying would do, without doing it.
//! - [`deploy`]: tables and views made, and brought up to the files.
//! - [`registry`]: which models are deployed, and the lock under which that changes.
//! - [`derived`]: rollups, materialized views and views: watched, and computed again where they were invalidated.
//! - [`facts`]: a model over events, without those it cannot take.
//! - [`transform`]: what waits, claimed and turned into facts, exactly once.
//! - [`quarantine`]: the events that a model refused; [`redrive`]: their dead letters, through the model again.
//! - [`backfill`]: history, in place or beside the table that is then replaced.
//! - [`refresh`]: everything derived brought up to the facts.
//! - [`testing`]: the tests of models over everything that is there.
//! - [`runs`], [`notify`]: what was done, for those who ask and those who listen.
//! - [`columns`]: the columns of relations in `facts`.
//! - [`work`], [`sql`]: the settings of every transaction; names and values in generated SQL.

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
