//! Lambda: a CSV object in S3 becomes rows of `raw_events`, exactly once.
//!
//! [`millrace_csv`] reads the bytes of a file as records. Here are the files that join it to S3, SQS and the database.
//!
//! # Layout, in the order of the data
//!
//! - [`object`]: one version of one object, streamed.
//! - [`plan`]: the options by which a file is read, stored with its load.
//! - [`payload`]: a record as JSON.
//! - [`chunks`]: cuts the records into batches, on a separate thread.
//! - [`load`]: loads one file: resume, stage, finish.
//! - [`loads`]: the tables that record loads.
//! - [`dead_letters`]: the dead letters of a file.
//! - [`redrive`]: redrives dead letters of records.
//! - [`handler`]: the response to Lambda, and the policy for each kind of error.
//! - [`visibility`]: hides a message while its file is loaded, and delays its next delivery.
//! - [`settings`]: the environment variables.

mod chunks;
mod dead_letters;
mod handler;
mod load;
mod loads;
mod object;
mod payload;
mod plan;
mod redrive;
mod settings;
mod visibility;

pub use handler::IngestCsv;
pub use settings::Settings;
