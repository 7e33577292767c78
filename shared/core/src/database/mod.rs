//! PostgreSQL: connecting, surviving freezes and fail-overs, and named transactions with retries.
//!
//! - [`settings`]: the connection string; `tls` checks the server's certificate as its `sslmode` asks.
//! - [`connection`]: one connection, which reconnects after a failure.
//! - [`transaction`]: [`Connection::run_tx`], which retries what is worth retrying.
//! - [`session`]: a client with its prepared statements.
//! - [`stall`]: noticing that the server has fallen silent.
//! - [`listener`]: hearing what is notified.
//! - [`failure`]: what a Postgres error means to us.

pub mod connection;
pub mod failure;
pub mod listener;
pub mod session;
pub mod settings;
pub mod stall;
mod tls;
pub mod transaction;

pub use connection::Connection;
pub use session::Session;
pub use settings::Settings;
pub use stall::StallDetector;
