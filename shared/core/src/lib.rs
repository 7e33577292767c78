//! The code that the Millrace functions share.
//!
//! # Layout, in the order of the data
//!
//! - [`notification`]: S3 notifications, read and written.
//! - [`batch`]: rows gathered into batches, the unit of everything; no I/O.
//! - [`copy`]: a batch's rows into `staging.events`, and finding the rows PostgreSQL refuses.
//! - [`ledger`]: one transaction a batch, claimed by its origin: exactly-once.
//! - [`origin`]: the names of loads and batches, and of the objects they are made of.
//! - [`load_outcome`]: how the load of a file ended.
//! - [`dead_letter`]: whatever could not become an event, with its reason.
//! - [`database`]: connecting to PostgreSQL, TLS, named transactions with retries.
//! - [`config`]: the environment and `sources.toml`.
//! - [`aws`]: AWS clients, linked only by the functions that need them (features `s3`, `sqs`, `lambda`, `secretsmanager`), and
//!   a client for whole objects of S3 without its SDK.
//! - [`secrets`]: fetches and caches the secrets of webhook sources (feature `secretsmanager`).
//! - [`migrate`]: applies the files of `migrations/` once and in order.
//! - [`runtime`]: the process of a Lambda function; with [`telemetry`], linked only by the functions (feature `runtime`).
//! - [`telemetry`], [`metrics`]: JSON logs, and numbers for CloudWatch beside them.
//! - [`failpoint`]: the moments at which a test ends a function; not in release builds.
//! - [`clock`], [`error`], [`code`](mod@code): time in PostgreSQL's microseconds, one error type, its stable codes.

#[cfg(feature = "aws")]
pub mod aws;
pub mod batch;
pub mod clock;
pub mod code;
pub mod config;
pub mod copy;
pub mod database;
pub mod dead_letter;
pub mod error;
pub mod failpoint;
pub mod ledger;
pub mod load_outcome;
pub mod metrics;
pub mod migrate;
pub mod notification;
pub mod origin;
#[cfg(feature = "runtime")]
pub mod runtime;
#[cfg(feature = "secretsmanager")]
pub mod secrets;
#[cfg(feature = "runtime")]
pub mod telemetry;

pub use code::Code;
pub use error::{Error, Kind, Policy, Result};
pub use load_outcome::LoadOutcome;
