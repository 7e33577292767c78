//! The database and the dead-letter queue that the subcommands work with, and for how long.

use std::time::{Duration, Instant};

use millrace::Result;
use millrace::database::{Connection, Settings};
use millrace::dead_letter::DeadLetterQueue;

use crate::checkout::Checkout;
use crate::environment::{self, Environment};

/// No command runs longer. A backfill that is stopped resumes with the next command.
const TIMEOUT: Duration = Duration::from_secs(24 * 3_600);
/// The default of `MILLRACE_MESSAGE_BYTES`.
const MESSAGE_BYTES: usize = 1 << 20;

/// A connection as the database's owner. Each transaction sets the role millrace_transform, which owns what it creates.
pub(super) fn connect(checkout: &Checkout) -> Result<Connection> {
    let url = environment::database_url(checkout)?;
    Ok(Connection::new(Settings::parse(&url)?.application_name("millrace models")))
}

/// The queue for events that a model refuses.
pub(super) async fn dead_letter_queue(environment: &Environment) -> Result<DeadLetterQueue> {
    let clients = environment.clients().await?;
    Ok(DeadLetterQueue::new(
        clients.sqs,
        clients.s3,
        environment.dead_letter_queue_url.clone(),
        environment.bucket.clone(),
        MESSAGE_BYTES,
    ))
}

pub(super) fn deadline() -> Instant {
    Instant::now() + TIMEOUT
}
