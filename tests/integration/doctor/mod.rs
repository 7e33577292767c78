//! `millrace doctor` and `millrace status` over a whole stack: the sample's models, files, webhooks, facts and views.
//!
//! - [`fixture`]: the stack, and the demo's data in it.

mod defects;
mod files;
pub mod fixture;
mod roles;
mod unavailable;
