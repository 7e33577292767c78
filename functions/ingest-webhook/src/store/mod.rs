//! Deliveries into the database, many in one commit.
//!
//! A request hands its [`Delivery`] to the [`Store`] and waits. The [`Writer`], one task with one connection, takes what
//! is waiting and writes it in one statement: a lone request is written at once, and while a commit is under way others
//! gather for the next. So under load a commit is shared by many, and idle nobody waits for company.
//!
//! - [`delivery`]: what is stored, and the outcome.
//! - [`group`]: which deliveries share a flush; no I/O.
//! - [`flush`]: a group as the parameters of one statement.
//! - [`writer`]: the task; failures, poisonous events and the partition of the day.

pub mod delivery;
pub mod flush;
pub mod group;
pub mod writer;

pub use delivery::{Delivery, Event, NotStored, Stored};
pub use writer::{Store, Writer};
