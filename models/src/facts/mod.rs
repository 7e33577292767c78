//! Facts: what events become, once.
//!
//! - [`statement`]: a model's query as the statement that writes its facts.
//! - [`apply`](mod@apply): a model over the events of a claim, without those it cannot take.
//! - [`ranges`]: the events of a claim, and how they are split.

pub mod apply;
pub mod ranges;
pub mod statement;
