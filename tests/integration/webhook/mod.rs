//! The compiled ingest-webhook behind a Lambda Runtime API: a real database, bucket, queue and Secrets Manager.
//!
//! - [`site`]: what a function stands between, and what it left there.
//! - [`door`]: a function that was started, and the requests it is sent.

mod answers;
mod bodies;
mod deliveries;
mod description;
pub mod door;
mod group_commit;
mod limits;
mod logs;
mod outages;
mod reconciliation;
mod requests;
mod secrets;
pub mod site;
