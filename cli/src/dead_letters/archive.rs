//! Dead letters that were moved to the bucket before SQS deletes them: `dead-letters/archived/<day>/<message id>.json`.

use std::time::SystemTime;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use millrace::config::Sources;
use millrace::dead_letter::{ARCHIVE_PREFIX, ReceivedMessage};
use millrace::{Error, Kind, Result};

use super::ScanProgress;
use super::entry::Entry;
use crate::environment::{Clients, aws_failure};

/// The number of objects that are read concurrently.
const CONCURRENCY: usize = 8;

/// The archive of one bucket.
pub struct Archive<'a> {
    pub clients: &'a Clients,
    pub bucket: &'a str,
    pub queue_url: &'a str,
    pub sources: &'a Sources,
}

/// A dead letter in the archive.
#[derive(Debug)]
pub struct Archived {
    key: String,
    pub entry: Entry,
}

impl Archive<'_> {
    /// Passes every archived dead letter to `see`, in the order of the days.
    pub async fn each(
        &self,
        progress: &ScanProgress,
        mut see: impl AsyncFnMut(Archived) -> Result<()>,
    ) -> Result<()> {
        let mut token: Option<String> = None;
        loop {
            let list = self.clients.s3.list_objects_v2().bucket(self.bucket).prefix(ARCHIVE_PREFIX);
            let page = list
                .set_continuation_token(token)
                .send()
                .await
                .map_err(|error| aws_failure("list the archived dead letters", &error))?;
            let keys = page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key);
            let mut read = stream::iter(keys).map(|key| self.read(key)).buffered(CONCURRENCY);
            while let Some(archived) = read.try_next().await? {
                progress.add(1);
                if let Some(archived) = archived {
                    see(archived).await?;
                }
            }
            token = page.next_continuation_token;
            if token.is_none() {
                return Ok(());
            }
        }
    }

    /// `None` for an object that was restored meanwhile.
    async fn read(&self, key: String) -> Result<Option<Archived>> {
        let answer = self.clients.s3.get_object().bucket(self.bucket).key(&key).send().await;
        let object = match answer {
            Ok(object) => object,
            Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => {
                return Ok(None);
            }
            Err(error) => return Err(aws_failure("read an archived dead letter", &error)),
        };
        let modified = object.last_modified.and_then(|at| SystemTime::try_from(at).ok());
        let bytes = object.body.collect().await.map_err(|error| {
            Error::new(Kind::Transient, "read an archived dead letter").with_source(error)
        })?;
        let name = key.rsplit('/').next().unwrap_or(&key);
        let message = ReceivedMessage {
            id: name.strip_suffix(".json").unwrap_or(name).to_owned(),
            receipt: String::new(),
            body: String::from_utf8_lossy(&bytes.into_bytes()).into_owned(),
            sent_at: modified.unwrap_or_else(SystemTime::now),
            receive_count: 0,
        };
        Ok(Some(Archived { key, entry: Entry::of_message(message, self.sources) }))
    }

    /// Sends a dead letter to the queue unchanged, and then deletes it from the archive. If this is interrupted, it is in both.
    pub async fn restore(&self, archived: &Archived) -> Result<()> {
        let send = self.clients.sqs.send_message().queue_url(self.queue_url);
        send.message_body(&archived.entry.body)
            .send()
            .await
            .map_err(|error| aws_failure("send an archived dead letter to the queue", &error))?;
        let delete = self.clients.s3.delete_object().bucket(self.bucket).key(&archived.key);
        delete.send().await.map_err(|error| aws_failure("delete a dead letter from the archive", &error))?;
        Ok(())
    }
}
