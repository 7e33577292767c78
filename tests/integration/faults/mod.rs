//! Faults of production, injected on purpose: one module for each component that fails.
//! // The invariant: acknowledged data is in raw_events or in the dead-letter queue, once, and the counts reconcile.

mod files;
mod network;
mod objects;
mod queues;
mod redelivery;
mod server;
