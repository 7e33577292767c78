//! What every Millrace function shares.
//!
//! # Layout
//!
//! - [`error`]: one error type, flat kinds, one policy.

pub mod error;

pub use error::{Error, Kind, Policy, Result};
