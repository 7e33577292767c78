//! From raw events to facts: each test with its own database, dead-letter queue and models.

mod backfill;
mod cuts;
mod deploying;
mod million;
mod quarantine;
mod rebuild;
mod retraction;
mod routes;
pub mod site;
