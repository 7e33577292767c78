//! Lambda: sends dead letters back to their redrive targets, and archives them before the queue deletes them.
//!
//! It touches no database. Each kind of dead letter goes to the function that sent it, which takes it back under its own role
//! and reports the outcome; only then is the message deleted.
//!
//! # Layout
//!
//! - [`request`]: what can be asked for, and what is answered.
//! - [`handler`]: an invocation.
//! - [`run`](mod@run): dead letters from the queue to their targets, until none is left or time is up.
//! - [`targets`]: the functions and the queue that take dead letters back.
//! - [`archive`]: old dead letters into the bucket.
//! - [`settings`]: the environment.

pub mod archive;
pub mod handler;
pub mod request;
pub mod run;
pub mod settings;
pub mod targets;

pub use handler::Redrive;
pub use settings::Settings;
