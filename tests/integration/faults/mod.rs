//! What breaks in production, broken on purpose: one file for each thing that breaks.
//!
//! The invariant: what was acknowledged is in raw_events or in the dead-letter queue, once; counts reconcile.

mod files;
mod network;
mod objects;
mod queues;
mod server;
