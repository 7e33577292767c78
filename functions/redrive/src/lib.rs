//! Lambda: sends dead letters to their redrive targets, and archives them before the queue deletes them.
//!
//! It does not connect to the database. Each dead letter goes to the function that sent it. That function stores it
//! under its own role and reports the outcome. Only then is the message deleted.
//!
//! # Layout
//!
//! - [`handler`]: handles an invocation: a [`RunRequest`](millrace::dead_letter::run::RunRequest).
//! - [`run`](mod@run): moves dead letters from the queue to their targets, until none is left or time is up.
//! - [`targets`]: the functions and the queue to which dead letters are redriven.
//! - [`archive`]: moves old dead letters into the bucket.
//! - [`settings`]: the environment variables.

mod archive;
mod handler;
mod run;
mod settings;
mod targets;

pub use handler::Redrive;
pub use settings::Settings;
