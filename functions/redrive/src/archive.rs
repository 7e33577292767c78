//! Archives old dead letters in the bucket, because SQS deletes every message after at most fourteen days.

use std::time::{Duration, Instant, SystemTime};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use millrace::aws::ObjectClient;
use millrace::dead_letter::run::ArchiveSummary;
use millrace::dead_letter::scan::Scan;
use millrace::dead_letter::{ARCHIVE_PREFIX, DeadLetterReader, ReceivedMessage};
use millrace::{Error, Kind, Result};
use time::OffsetDateTime;

/// The number of objects that are written concurrently.
const CONCURRENCY: usize = 8;

pub struct Archiver<'a> {
    pub reader: DeadLetterReader,
    pub objects: &'a ObjectClient,
    pub bucket: &'a str,
    pub older_than: Duration,
    pub until: Instant,
}

impl Archiver<'_> {
    /// Moves the dead letters that are old enough, with unchanged bodies. The other messages are visible again when
    /// this returns.
    pub async fn run(&self) -> Result<ArchiveSummary> {
        let mut scan = self.reader.scan();
        let mut archived = ArchiveSummary::default();
        let ended = self.take(&mut scan, &mut archived).await;
        let finished = scan.finish().await;
        ended.and(finished).map(|()| archived)
    }

    async fn take(&self, scan: &mut Scan, archived: &mut ArchiveSummary) -> Result<()> {
        let newest = SystemTime::now() - self.older_than;
        while let Some(messages) = scan.next().await? {
            let (old, young): (Vec<ReceivedMessage>, Vec<ReceivedMessage>) =
                messages.into_iter().partition(|message| message.sent_at <= newest);
            archived.left += young.len() as u64;
            stream::iter(&old)
                .map(|message| self.keep(message))
                .buffer_unordered(CONCURRENCY)
                .try_collect::<Vec<()>>()
                .await?;
            // Only messages whose objects are written are deleted.
            scan.delete(&old.iter().collect::<Vec<_>>()).await?;
            archived.archived += old.len() as u64;
            if Instant::now() >= self.until {
                archived.more = true;
                return Ok(());
            }
        }
        archived.more = !scan.is_complete();
        Ok(())
    }

    async fn keep(&self, message: &ReceivedMessage) -> Result<()> {
        let day = OffsetDateTime::from(message.sent_at).date();
        let key = format!("{ARCHIVE_PREFIX}{day}/{}.json", message.id);
        self.objects.put(self.bucket, &key, "application/json", message.body.clone()).await.map_err(|error| {
            Error::new(Kind::Transient, "keep an old dead letter in the bucket").with_source(error)
        })
    }
}
