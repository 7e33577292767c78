//! PostgreSQL: connections that survive freezes and fail-overs, and named transactions with retries.
//!
//! - [`settings`]: the connection string; `tls` verifies the certificate of the server as `sslmode` requires.
//! - [`connection`]: one connection, which reconnects after a failure.
//! - [`transaction`]: [`Connection::run_tx`], which retries temporary failures.
//! - [`session`]: a client with its prepared statements.
//! - [`stall`]: detects that the server does not respond.
//! - [`listener`]: receives notifications.
//! - [`failure`]: maps PostgreSQL errors to kinds.

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
