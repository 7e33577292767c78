//! The local stack: PostgreSQL, a local AWS, the deployed template.

pub mod child;
pub mod postgres;
