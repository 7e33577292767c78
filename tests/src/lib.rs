//! What the integration tests stand on: real servers, started by the tests themselves.
//!
//! - [`postgres`]: a database for each test.

pub mod postgres;
