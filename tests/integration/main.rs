//! Every integration test, in one binary.

mod schema;
mod staging;
