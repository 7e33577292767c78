//! Lambda: a webhook becomes rows of `raw_events`.
//!
//! # Layout, in the order of the data
//!
//! - [`request`]: what API Gateway or a function URL hands over.
//! - [`content`]: a body cut into records.
//! - [`problem`]: why a delivery is refused.
//! - [`answer`]: what the sender is told.

pub mod answer;
pub mod content;
pub mod problem;
pub mod request;
