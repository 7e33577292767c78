//! Follows a file from the bucket to the end of its load.

use std::time::{Duration, Instant};

use millrace::Result;
use millrace::dead_letter::{DeadLetterKind, DeadLetterReader};
use tokio_postgres::Client;

use crate::dead_letters::{self, ScanProgress};
use crate::environment::Clients;
use crate::loads::{self, LoadEnd, LoadProgress};
use crate::upload::UploadTarget;

/// The result of following a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    Ended(LoadProgress, LoadEnd),
    /// The file is in the dead-letter queue, for this reason, and has no load.
    DeadLettered(String),
    /// The time limit was reached; the state of the load, if it had begun.
    TimedOut(Option<LoadProgress>),
}

/// The interval of polls.
const INTERVAL: Duration = Duration::from_millis(150);
/// After this time without a load, the dead-letter queue is checked for the file.
const LOOK_FOR_DEAD_LETTERS: Duration = Duration::from_secs(5);

/// Follows the load of one version of an object. Calls `progress` after each poll.
pub async fn follow(
    database: &Client,
    clients: &Clients,
    dead_letter_queue_url: &str,
    target: &UploadTarget,
    version: &str,
    timeout: Duration,
    mut progress: impl FnMut(Option<&LoadProgress>),
) -> Result<Followed> {
    let origin = target.origin(version);
    let began = Instant::now();
    let mut looked = began;
    loop {
        let load = loads::find(database, &origin).await?;
        if let Some(load) = &load
            && let Some(end) = &load.end
        {
            return Ok(Followed::Ended(load.clone(), end.clone()));
        }
        progress(load.as_ref());
        if load.is_none() && looked.elapsed() > LOOK_FOR_DEAD_LETTERS {
            looked = Instant::now();
            if let Some(reason) = refusal(clients, dead_letter_queue_url, target, version).await? {
                return Ok(Followed::DeadLettered(reason));
            }
        }
        if began.elapsed() > timeout {
            return Ok(Followed::TimedOut(load));
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// The reason why the file is in the dead-letter queue, if it is.
async fn refusal(
    clients: &Clients,
    queue_url: &str,
    target: &UploadTarget,
    version: &str,
) -> Result<Option<String>> {
    let reader = DeadLetterReader::new(clients.sqs.clone(), clients.objects.clone(), queue_url.to_owned());
    let mut reason = None;
    dead_letters::each(&reader, &ScanProgress::hidden(), |entry| {
        let ours = entry.dead_letter.filter(|dead_letter| {
            dead_letter.kind == DeadLetterKind::Upload
                && dead_letter.origin.key.as_deref() == Some(target.key.as_str())
                && dead_letter.origin.version.as_deref() == Some(version)
        });
        reason = ours.map(|dead_letter| dead_letter.reason.message);
        Ok(reason.is_none())
    })
    .await?;
    Ok(reason)
}
