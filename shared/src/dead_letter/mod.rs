//! Dead letters: whatever could not become an event, with its reason, in one SQS queue and one envelope.
//!
//! A letter is sent before the commit that leaves its row behind, so a crash can repeat a letter but never lose one; a
//! repeated letter has the same id.
//!
//! - [`envelope`]: what a letter says; [`read`]: what a message of the queue says, a record of AWS included.
//! - [`filter`]: which letters are meant.
//! - [`queue`]: sending; [`mailbox`]: receiving, hiding, deleting; [`scan`]: everything that is there, without taking it.
//! - [`door`]: letters on their way back into a function.

pub mod door;
pub mod envelope;
pub mod filter;
#[cfg(all(feature = "sqs", feature = "s3"))]
pub mod mailbox;
#[cfg(all(feature = "sqs", feature = "s3"))]
pub mod queue;
pub mod read;
#[cfg(all(feature = "sqs", feature = "s3"))]
pub mod scan;

pub use envelope::{Letter, LetterKind, Origin, Payload, Reason};
pub use filter::Filter;
#[cfg(all(feature = "sqs", feature = "s3"))]
pub use mailbox::{Mailbox, Message};
#[cfg(all(feature = "sqs", feature = "s3"))]
pub use queue::DeadLetterQueue;
pub use read::Read;

/// Letters that were moved out of the queue before it forgets them: `dead-letters/archived/<yyyy-mm-dd>/<message id>.json`,
/// the message's body as it was.
pub const ARCHIVE_PREFIX: &str = "dead-letters/archived/";
