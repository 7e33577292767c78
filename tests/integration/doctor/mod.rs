//! `millrace doctor` and `millrace status` over a whole stack: the sample's models, files, webhooks, facts and views.
//!
//! - [`fixture`]: the stack, and the demo's data in it.

mod away;
mod defects;
mod files;
pub mod fixture;
mod roles;
