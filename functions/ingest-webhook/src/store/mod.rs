//! Stores deliveries in the database, many in one commit.
//!
//! A request sends its [`Delivery`] to the [`Store`] and waits. The [`Writer`], one task with one connection, writes
//! all waiting deliveries in one statement. A single request is written immediately. Deliveries that arrive during a
//! commit share the next one. No delivery waits for others to arrive.
//!
//! - [`delivery`]: a delivery, and its outcome.
//! - [`group`]: selects the deliveries of a flush, without I/O.
//! - [`flush`]: turns a group into the parameters of one statement.
//! - [`writer`]: the task that writes, with its handling of failures, refused events and daily partitions.

pub mod delivery;
pub mod flush;
pub mod group;
pub mod writer;

pub use delivery::{Delivery, DeliveryEvent, NotStored, Stored};
pub use writer::{Store, Writer};
