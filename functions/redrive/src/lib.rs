//! Lambda: dead letters go back through the front door, and to the bucket before the queue forgets them.
//!
//! It touches no database. Each kind of letter goes to the function that sent it, which takes it back under its own role
//! and says what became of it; only then is the message deleted.
//!
//! # Layout
//!
//! - [`request`]: what can be asked for, and what is answered.
//! - [`handler`]: an invocation.
//! - [`run`](mod@run): letters from the queue to their doors, until none is left or time is up.
//! - [`doors`]: the functions and the queue that take letters back.
//! - [`archive`]: old letters into the bucket.
//! - [`settings`]: the environment.

pub mod archive;
pub mod doors;
pub mod handler;
pub mod request;
pub mod run;
pub mod settings;

pub use handler::Redrive;
pub use settings::Settings;
