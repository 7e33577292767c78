//! Dead letters: data that could not become an event or a fact, with the reason, in one SQS queue and one envelope.
//!
//! A dead letter is sent before the commit that leaves its row behind, so a crash can repeat a dead letter but never lose one; a
//! repeated dead letter has the same id.
//!
//! - [`envelope`]: the format of a dead letter; [`parse`]: parses a message of the queue, including records of AWS.
//! - [`codes`]: which dead letters can have a code.
//! - [`filter`]: filters of dead letters.
//! - [`queue`]: sending; [`reader`]: receiving, hiding, deleting; [`scan`]: reads the whole queue without removing messages.
//! - [`settings`]: the queue, the bucket for large dead letters and the limit on a message.
//! - [`redrive`]: the request with which dead letters are sent back to the function that sent them, and the outcomes.
//! - [`run`]: the requests that the function redrive accepts, and its responses.

pub mod codes;
pub mod envelope;
pub mod filter;
pub mod parse;
#[cfg(feature = "sqs")]
pub mod queue;
#[cfg(feature = "sqs")]
pub mod reader;
pub mod redrive;
pub mod run;
#[cfg(feature = "sqs")]
pub mod scan;
pub mod settings;

pub use envelope::{DeadLetter, DeadLetterKind, Origin, Payload, Reason};
pub use filter::Filter;
pub use parse::ParsedMessage;
#[cfg(feature = "sqs")]
pub use queue::DeadLetterQueue;
#[cfg(feature = "sqs")]
pub use reader::{DeadLetterReader, ReceivedMessage};
pub use settings::Settings;

/// Dead letters that were moved to the bucket before SQS deletes them: `dead-letters/archived/<yyyy-mm-dd>/<message id>.json`
/// contains the unchanged body of the message.
pub const ARCHIVE_PREFIX: &str = "dead-letters/archived/";
