//! Transforms raw events to facts. Each test has its own database, dead-letter queue and models.

mod backfill;
mod deploying;
mod disconnects;
pub mod fixture;
mod million;
mod quarantine;
mod rebuild;
mod retraction;
mod routes;
