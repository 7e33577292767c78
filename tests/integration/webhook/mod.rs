//! The compiled ingest-webhook behind a Lambda Runtime API: a real database, bucket, queue and Secrets Manager.
//!
//! - [`fixture`]: the resources of a function, and checks of their contents.
//! - [`client`]: a running function, and the requests that it is sent.

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
