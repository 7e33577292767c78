//! The database and the dead-letter queue that the subcommands work with, and for how long.

use std::time::{Duration, Instant};

use millrace::Result;
use millrace::database::{Connection, Settings};
use millrace::dead_letter::{self, DeadLetterQueue};

use crate::checkout::Checkout;
use crate::environment::{self, Environment};

/// No command runs longer. A backfill that is stopped resumes with the next command.
const TIMEOUT: Duration = Duration::from_secs(24 * 3_600);

/// A connection as the database's owner. Each transaction sets the role millrace_transform, which owns what it creates.
pub(super) fn connect(checkout: &Checkout) -> Result<Connection> {
    let url = environment::database_url(checkout)?;
    Ok(Connection::new(Settings::parse(&url)?.application_name("millrace models")))
}

/// The queue for events that a model refuses.
pub(super) async fn dead_letter_queue(environment: &Environment) -> Result<DeadLetterQueue> {
    let clients = environment.clients().await?;
    let settings = dead_letter::Settings {
        queue_url: environment.dead_letter_queue_url.clone(),
        bucket: environment.bucket.clone(),
        message_bytes: dead_letter::settings::MESSAGE_BYTES,
    };
    Ok(DeadLetterQueue::new(clients.sqs, clients.objects, settings))
}

pub(super) fn deadline() -> Instant {
    Instant::now() + TIMEOUT
}
