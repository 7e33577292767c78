//! Lambda: CSV objects in S3 to raw_events.

pub mod csv;
