//! Dead letters: whatever could not become an event, with its reason, in one SQS queue and one envelope.
//!
//! A letter is sent before the commit that leaves its row behind, so a crash can repeat a letter but never lose one; a
//! repeated letter has the same id.
//!
//! - [`envelope`]: what a letter says.
//! - [`queue`]: sending letters.
//! - [`door`]: taking them back.

pub mod door;
pub mod envelope;
#[cfg(all(feature = "sqs", feature = "s3"))]
pub mod queue;

pub use envelope::{Letter, LetterKind, Origin, Payload, Reason};
#[cfg(all(feature = "sqs", feature = "s3"))]
pub use queue::DeadLetterQueue;
