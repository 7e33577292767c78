//! The environment, the clients and the queue that the subcommands share.

use millrace::Result;
use millrace::dead_letter::{DeadLetterReader, Filter};

use crate::commands::Stop;
use crate::dead_letters::archive::Archive;
use crate::dead_letters::summary::DeadLetterSummary;
use crate::dead_letters::{ScanProgress, each};
use crate::environment::{Clients, DeadLetterEnvironment};

/// What every subcommand works with.
pub(super) struct DeadLetterContext<'a> {
    pub environment: &'a DeadLetterEnvironment,
    pub clients: &'a Clients,
    pub reader: DeadLetterReader,
}

impl DeadLetterContext<'_> {
    pub fn archive(&self) -> Archive<'_> {
        Archive {
            clients: self.clients,
            bucket: &self.environment.bucket,
            queue_url: &self.environment.queue_url,
            sources: self.reader.sources(),
        }
    }

    /// One line for every dead letter that `filter` selects, and whether the whole queue was read. `None` after Ctrl-C.
    pub async fn summary(
        &self,
        filter: &Filter,
        archived: bool,
        stop: &mut Stop,
    ) -> Result<Option<(DeadLetterSummary, bool)>> {
        let mut summary = DeadLetterSummary::default();
        let complete = if archived {
            let progress = ScanProgress::new("reading the archive");
            let archive = self.archive();
            let look = archive.each(&progress, async |archived| {
                if archived.entry.is_meant(filter) {
                    summary.add(&archived.entry);
                }
                Ok(())
            });
            stop.unless_asked(async { look.await.map(|()| true) }).await?
        } else {
            let progress = ScanProgress::new("reading the dead-letter queue");
            let look = each(&self.reader, &progress, |entry| {
                if entry.is_meant(filter) {
                    summary.add(&entry);
                }
                Ok(true)
            });
            stop.unless_asked(look).await?
        };
        Ok(complete.map(|complete| (summary, complete)))
    }
}
