//! Support for the integration tests: real servers, started by the tests themselves.
//!
//! - [`aws`]: a bucket and two queues for each test.
//! - [`lambda`]: the compiled functions behind an Invoke API.
//! - [`dead_letters`]: validates dead letters by their schema.
//! - [`directory`]: the directories of the servers.
//! - [`metrics`]: reads and validates the metrics of a function.
//! - [`page`]: runs a page of `docs/`, block by block.
//! - [`postgres`]: a database for each test.
//! - [`process`]: signals to processes.
//! - [`proxy`]: a network proxy that injects faults.
//! - [`runtime_api`]: the compiled function behind a Lambda Runtime API.
//! - [`terminal`]: reads the tables and the prose that `millrace` prints.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails, with the reason")]

pub mod aws;
pub mod dead_letters;
pub mod directory;
pub mod lambda;
pub mod metrics;
pub mod page;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod runtime_api;
pub mod terminal;
