//! What the integration tests stand on: real servers, started by the tests themselves.
//!
//! - [`aws`]: a bucket and two queues for each test.
//! - [`lambda`]: the compiled functions behind an Invoke API.
//! - [`dead_letters`]: what the schema of dead letters says of one.
//! - [`metrics`]: the metrics of a function, checked.
//! - [`postgres`]: a database for each test.
//! - [`proxy`]: a network that fails on demand.
//! - [`runtime_api`]: the compiled function behind a Lambda Runtime API.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails, with the reason")]

pub mod aws;
pub mod dead_letters;
pub mod lambda;
pub mod metrics;
pub mod postgres;
pub mod proxy;
pub mod runtime_api;
