//! Handles an invocation: redrives or archives the dead letters that the event selects.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace::aws::{ObjectClient, function_config, lambda_client, sqs_client};
use millrace::config::Sources;
use millrace::dead_letter::DeadLetterQueue;
use millrace::dead_letter::run::{ArchiveRun, ArchiveSummary, RedriveRun, RedriveSummary, RunRequest};
use millrace::metrics::{self, names};
use millrace::{Result, clock};
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use tracing::info;

use crate::archive::Archiver;
use crate::run::Run;
use crate::settings::Settings;
use crate::targets::RedriveTargets;

/// The response to Lambda.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum RunSummary {
    Redrive(RedriveSummary),
    Archive(ArchiveSummary),
}

pub struct Redrive {
    settings: Settings,
    objects: ObjectClient,
    dead_letter_queue: DeadLetterQueue,
    sources: Arc<Sources>,
    targets: RedriveTargets,
}

impl Redrive {
    /// Reads `sources.toml` and builds the clients.
    ///
    /// # Errors
    /// `sources.toml` is invalid.
    pub async fn new(settings: Settings) -> Result<Self> {
        let sources = Arc::new(Sources::load(&settings.pipeline)?);
        let config = function_config();
        let (objects, sqs) = (ObjectClient::new(&config), sqs_client(&config));
        let dead_letter_queue =
            DeadLetterQueue::new(sqs.clone(), objects.clone(), settings.dead_letters.clone());
        let targets = RedriveTargets {
            lambda: lambda_client(&config),
            sqs,
            upload_queue_url: settings.upload_queue_url.clone(),
            ingest_csv: settings.ingest_csv.clone(),
            ingest_webhook: settings.ingest_webhook.clone(),
            transform: settings.transform.clone(),
        };
        Ok(Redrive { settings, objects, dead_letter_queue, sources, targets })
    }

    /// Runs the action of `event`.
    pub async fn handle(&self, event: Value, deadline: Instant) -> Result<RunSummary> {
        let until = clock::before(deadline, self.settings.deadline_margin, 2);
        match RunRequest::read(event)? {
            RunRequest::Redrive(asked) => self.redrive(&asked, until).await.map(RunSummary::Redrive),
            RunRequest::Archive(asked) => self.archive(&asked, until).await.map(RunSummary::Archive),
        }
    }

    async fn redrive(&self, asked: &RedriveRun, until: Instant) -> Result<RedriveSummary> {
        let started = Instant::now();
        let reader = self.dead_letter_queue.reader().with_sources(Arc::clone(&self.sources));
        let run = Run {
            reader: reader.clone(),
            dead_letter_queue: &self.dead_letter_queue,
            targets: &self.targets,
            filter: &asked.filter,
            at_most: asked.at_most.unwrap_or(u64::MAX),
            rate: asked.rate.unwrap_or(self.settings.rate),
            sent_before: asked.sent_before.unwrap_or_else(OffsetDateTime::now_utc),
            until,
        };
        let ended = run.run().await;
        // No task may run after the response.
        reader.wait_for_scans().await;
        let mut summary = ended?;
        metrics::add(names::DEAD_LETTERS_REDRIVEN, summary.redriven);
        metrics::add(names::DEAD_LETTERS_DUPLICATE, summary.duplicate);
        metrics::add(names::DEAD_LETTERS_VOID, summary.void);
        metrics::add(names::DEAD_LETTERS_FAILED, summary.failed);
        metrics::add(names::DEAD_LETTERS_PENDING, summary.pending);
        summary.reasons.sort_by_key(|reason| std::cmp::Reverse(reason.count));
        info!(
            redriven_count = summary.redriven,
            duplicate_count = summary.duplicate,
            void_count = summary.void,
            failed_count = summary.failed,
            pending_count = summary.pending,
            left_count = summary.left,
            more = summary.more,
            duration_ms = started.elapsed().as_millis() as u64,
            "redriven"
        );
        Ok(summary)
    }

    async fn archive(&self, asked: &ArchiveRun, until: Instant) -> Result<ArchiveSummary> {
        let started = Instant::now();
        let reader = self.dead_letter_queue.reader();
        let archive = Archiver {
            reader: reader.clone(),
            objects: &self.objects,
            bucket: &self.settings.dead_letters.bucket,
            older_than: Duration::from_secs(u64::from(asked.older_than_days) * 86_400),
            until,
        };
        let ended = archive.run().await;
        reader.wait_for_scans().await;
        let archived = ended?;
        metrics::add(names::DEAD_LETTERS_ARCHIVED, archived.archived);
        info!(
            archived_count = archived.archived,
            left_count = archived.left,
            more = archived.more,
            duration_ms = started.elapsed().as_millis() as u64,
            "archived"
        );
        Ok(archived)
    }
}
