//! The compiled ingest-webhook behind a Lambda Runtime API: a real database, bucket, queue and Secrets Manager.
//!
//! - [`fixture`]: what a function stands between, and what it left there.
//! - [`client`]: a function that was started, and the requests it is sent.

mod answers;
mod bodies;
pub mod client;
mod deliveries;
mod description;
pub mod fixture;
mod group_commit;
mod limits;
mod logs;
mod outages;
mod reconciliation;
mod requests;
mod secrets;
