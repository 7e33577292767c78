//! Facts: the rows that fact models derive from events, each event once.
//!
//! - [`run`]: runs models over events: a claim, a backfill, a redrive and a retraction call it.
//! - [`statement`]: a model's query as the statement that writes its facts.
//! - [`apply`](mod@apply): runs this statement and isolates the events that it refuses.
//! - [`ranges`]: the events of a run, and how they are split.
//! - [`dead_letters`]: the dead letters of refused events.
//! - [`retract`]: deletes the facts of batches.

pub mod apply;
pub mod dead_letters;
pub mod ranges;
pub mod retract;
pub mod run;
pub mod statement;
