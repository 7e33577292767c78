//! Lambda: a CSV object in S3 becomes rows of `raw_events`, exactly once.
//!
//! # Layout, in the order of the data
//!
//! - [`notification`]: what S3 says, bare, through SQS or through EventBridge.
//! - [`object`]: one version of one object, streamed.
//! - [`csv`]: decompression, encoding, dialect, records; the rules for broken files.
//! - [`plan`]: how a file is read, stored with its load.
//! - [`payload`]: a record as JSON.
//! - [`chunks`]: records cut into batches, on a thread of their own.
//! - [`load`]: one file from its notification to its end: resume, stage, finish.
//! - [`loads`]: what the database remembers of loads.
//! - [`dead_letters`]: the dead letters of a file.
//! - [`redrive`]: records whose dead letters are put back.
//! - [`handler`]: what is answered to Lambda, and what is done about each kind of failure.
//! - [`settings`]: the environment.

pub mod chunks;
pub mod csv;
pub mod dead_letters;
pub mod handler;
pub mod load;
pub mod loads;
pub mod notification;
pub mod object;
pub mod payload;
pub mod plan;
pub mod redrive;
pub mod settings;

pub use handler::IngestCsv;
pub use settings::Settings;
