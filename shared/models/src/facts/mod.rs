//! Facts: the rows that fact models derive from events, each event once.
//!
//! - [`statement`]: a model's query as the statement that writes its facts.
//! - [`apply`](mod@apply): runs a model over the events of a claim and isolates those it refuses.
//! - [`ranges`]: the events of a claim, and how they are split.

pub mod apply;
pub mod ranges;
pub mod statement;
