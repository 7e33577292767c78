//! The dead-letter queue, and `millrace dead-letters` as a user runs it.

mod archive;
mod documentation;
mod dropping;
mod fixture;
mod ids;
mod interrupted;
mod kinds;
mod listing;
mod redrive;
