//! What every Millrace function shares.
//!
//! # Layout, in the order of the data
//!
//! - [`telemetry`]: JSON logs.
//! - [`database`]: connecting to PostgreSQL, TLS, named transactions with retries.
//! - [`error`]: one error type, flat kinds, one policy.
//! - [`aws`]: AWS clients, linked only by the functions that need them (features `s3`, `sqs`).

#[cfg(feature = "aws")]
pub mod aws;
pub mod database;
pub mod error;
pub mod telemetry;

pub use error::{Error, Kind, Policy, Result};
