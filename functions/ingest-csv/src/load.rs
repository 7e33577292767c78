//! Loads one file, from its notification to its recorded outcome.
//!
//! A load is resumable at every chunk: its plan is stored, and its committed chunks are in the ledger. A second
//! attempt, after a crash, a deadline or a duplicate notification, continues at the first missing chunk.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use futures_util::future::join_all;
use millrace::config::Sources;
use millrace::config::sources::{CsvRoute, ObjectRoute};
use millrace::database::Connection;
use millrace::dead_letter::{DeadLetterQueue, Reason};
use millrace::ledger::{self, LedgerEntry, Staged};
use millrace::metrics::{self, names};
use millrace::{Code, Error, Kind, LoadOutcome, Policy, Result, clock};
use serde_json::json;
use tokio::sync::{Mutex, mpsc};
use tracing::{info, warn};

use crate::chunks::{Chunk, Chunker, ReadEnd, send_chunks};
use crate::dead_letters::LoadContext;
use crate::loads::{self, CommittedChunk, Ending};
use crate::object::{Object, ObjectReader};
use crate::plan::LoadPlan;
use crate::settings::Settings;
use millrace::notification::ObjectCreated;
use millrace_csv::{CsvPosition, Decoded, Records};

/// The limit for one transaction, however much time the invocation has. After it the message is retried, possibly in a
/// healthier sandbox, and nobody pays for a function that waits.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);

/// What every load uses.
pub struct Loader {
    pub settings: Settings,
    pub sources: Sources,
    pub s3: Client,
    pub dead_letter_queue: DeadLetterQueue,
    pub connections: Vec<Mutex<Connection>>,
}

/// How an attempt ended when it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadAttempt {
    /// Everything is in the ledger. `already` is true when it was there before this attempt.
    Ended { already: bool },
    /// Some chunks are committed, and time ran out. The load must be continued.
    ToBeContinued,
}

/// The counts of one attempt.
#[derive(Debug, Default, Clone, Copy)]
struct LoadCounts {
    chunks: u64,
    staged: u64,
    rejected: u64,
    repaired: u64,
    duplicates: u64,
}

impl Loader {
    /// Loads one object, or continues its load.
    pub async fn load(&self, created: &ObjectCreated, deadline: Instant) -> Result<LoadAttempt> {
        let started = Instant::now();
        let stop_at = clock::before(deadline, self.settings.deadline_margin, 4);
        // A commit in progress may finish until shortly before the deadline.
        let commit_by = clock::before(deadline, Duration::from_secs(2), 20);
        let route = match self.sources.route(&created.key) {
            ObjectRoute::Csv(route) => route,
            ObjectRoute::Unroutable { reason } => {
                return Err(Error::new(Kind::Contract, reason).with_code(Code::NoSourceForKey));
            }
        };
        let object = Object::pin(&self.s3, created).await?;
        let first = &self.connections[0];
        let known =
            loads::find(&mut *first.lock().await, &object.versioned.origin(), soon(commit_by)).await?;
        let (load, fresh) = match known {
            Some(load) if load.leaves_nothing_to(created.attempt()) => {
                info!(
                    object = object.versioned.name(),
                    outcome = load.outcome.map(LoadOutcome::name),
                    "attempted before; nothing to do"
                );
                return Ok(LoadAttempt::Ended { already: true });
            }
            Some(load) if load.attempt == created.attempt() => (load, None),
            _ => {
                let opened = self.detect(&object, route).await?;
                let plan = opened.plan.clone();
                let load =
                    loads::start(&mut *first.lock().await, &object, created, &plan, soon(commit_by)).await?;
                // Another worker may have started the load in the meantime. Its plan is the stored one, and the file is
                // read again by it.
                let ours = load.plan == plan;
                (load, ours.then_some(opened))
            }
        };
        let committed = loads::committed_chunks(&mut *first.lock().await, load.id, soon(commit_by)).await?;
        let opened = match fresh {
            Some(opened) => opened,
            None => self.reopen(&object, &load.plan, &committed).await?,
        };
        let context = LoadContext {
            object: &object,
            load_id: load.id,
            attempt: load.attempt,
            source: &load.plan.source,
            event_type: &load.plan.event_type,
        };
        let (end, progress) = self.run(opened, &committed, &context, stop_at, commit_by).await;
        let staged = committed.iter().map(|chunk| chunk.staged).sum::<u64>() + progress.staged;
        let (ending, dead_letter) = match end {
            Ok(ReadEnd::File { record_count, notes }) => {
                for note in &notes {
                    warn!(object = object.versioned.name(), note, "note on the file");
                }
                let reason = (!notes.is_empty()).then(|| notes.join("; "));
                (Some(Ending { outcome: LoadOutcome::Loaded, record_count, reason }), None)
            }
            Ok(ReadEnd::Deadline) if progress.chunks > 0 => (None, None),
            Ok(ReadEnd::Deadline) => {
                return Err(Error::new(
                    Kind::Transient,
                    "no chunk could be committed before the deadline; raise the function's timeout or lower MILLRACE_CHUNK_ROWS",
                )
                .with_code(Code::NoProgress));
            }
            Ok(ReadEnd::TooManyRejects { read, rejected, next }) => {
                let message =
                    format!("{rejected} of the first {read} records are bad, more than the declared share");
                let extent = json!({
                    "staged": staged,
                    "resume_from": { "record": next.record, "line": next.line, "offset": next.offset },
                });
                let reason = Reason::new(Code::TooManyRejects, &message);
                let ending = Ending {
                    outcome: LoadOutcome::Stopped,
                    record_count: next.record,
                    reason: Some(message),
                };
                (Some(ending), Some((reason, extent)))
            }
            Ok(ReadEnd::Abandoned) => {
                return Err(Error::new(Kind::Bug, "reading was abandoned without a cause"));
            }
            Err(error) if error.kind().policy() == Policy::DeadLetter => {
                let reason = Reason::new(error.code(), error.chain());
                let chunks =
                    loads::committed_chunks(&mut *first.lock().await, load.id, soon(commit_by)).await?;
                let record_count = chunks.iter().map(|chunk| chunk.next_record - chunk.first_record).sum();
                let ending =
                    Ending { outcome: LoadOutcome::Failed, record_count, reason: Some(error.chain()) };
                (Some(ending), Some((reason, json!({ "staged": staged }))))
            }
            Err(error) => return Err(error),
        };
        // The dead letter is sent first: a crash after it repeats the dead letter and never loses it.
        if let Some((reason, extent)) = dead_letter {
            warn!(
                object = object.versioned.name(),
                code = reason.code,
                error = reason.message,
                "file dead-lettered"
            );
            self.dead_letter_queue.send(&[context.upload_dead_letter(reason, extent, created)]).await?;
        }
        let attempt = match ending {
            Some(ending) => {
                loads::finish(&mut *first.lock().await, load.id, &ending, soon(commit_by)).await?;
                let outcome = if ending.outcome == LoadOutcome::Loaded {
                    names::FILES_LOADED
                } else {
                    names::FILES_FAILED
                };
                metrics::add_of(self.declared(context.source), outcome, 1);
                metrics::add_of(self.declared(context.source), names::FILE_BYTES, object.size);
                LoadAttempt::Ended { already: false }
            }
            None => {
                metrics::add_of(self.declared(context.source), names::FILES_CONTINUED, 1);
                LoadAttempt::ToBeContinued
            }
        };
        info!(
            object = object.versioned.name(),
            source = load.plan.source,
            event_type = load.plan.event_type,
            load_id = %load.id,
            ended = matches!(attempt, LoadAttempt::Ended { .. }),
            chunk_count = progress.chunks,
            staged_count = progress.staged,
            rejected_count = progress.rejected,
            repaired_count = progress.repaired,
            duplicate_chunk_count = progress.duplicates,
            resumed_after_chunk_count = committed.len(),
            byte_count = object.size,
            duration_ms = started.elapsed().as_millis() as u64,
            "file staged"
        );
        Ok(attempt)
    }

    /// The source's name, if `sources.toml` declares it.
    fn declared<'s>(&self, source: &'s str) -> Option<&'s str> {
        Some(source).filter(|source| self.sources.declares(source))
    }

    /// Opens the object for the first time and detects what is not declared.
    async fn detect(&self, object: &Object, route: CsvRoute) -> Result<OpenFile> {
        let (reader, feed) = object.stream(&self.s3, 0);
        let feed = Feed(tokio::spawn(feed));
        let (limits, bounds) = (self.settings.limits, self.settings.bounds);
        let (records, plan) = blocking(move || LoadPlan::open(route, bounds, reader, &limits)).await?;
        Ok(OpenFile { records, plan, feed })
    }

    /// Opens the object with a stored plan at the first missing chunk. A file that is neither compressed nor transcoded
    /// is read from that offset. Any other file is decoded from its beginning, and the earlier text is skipped.
    async fn reopen(
        &self,
        object: &Object,
        plan: &LoadPlan,
        committed: &[CommittedChunk],
    ) -> Result<OpenFile> {
        let position = first_missing(committed).unwrap_or_else(|| plan.start());
        let (reader, feed) = object.stream(&self.s3, plan.resume_offset(position));
        let feed = Feed(tokio::spawn(feed));
        let (limits, plan) = (self.settings.limits, plan.clone());
        let (records, plan) = blocking(move || Ok((plan.reopen(reader, &limits, position)?, plan))).await?;
        Ok(OpenFile { records, plan, feed })
    }

    /// Reads, stages and counts until the file ends, time is up, or an error occurs.
    async fn run(
        &self,
        opened: OpenFile,
        committed: &[CommittedChunk],
        context: &LoadContext<'_>,
        stop_at: Instant,
        commit_by: Instant,
    ) -> (Result<ReadEnd>, LoadCounts) {
        let OpenFile { records, plan, feed } = opened;
        let chunker = Chunker::of(&plan, committed, stop_at);
        // One chunk waits while all connections are busy. Memory holds that chunk, one per connection, and the one
        // being filled.
        let (chunk_sender, chunk_receiver) = mpsc::channel(1);
        let chunker_task = tokio::task::spawn_blocking(move || send_chunks(records, chunker, &chunk_sender));
        let receiver = Mutex::new(chunk_receiver);
        let failed = AtomicBool::new(false);
        let workers = self
            .connections
            .iter()
            .map(|connection| self.stage_chunks(connection, &receiver, &failed, context, commit_by));
        let outcomes = join_all(workers).await;
        // The receiver is dropped here, so that a chunker that still sends stops.
        drop(receiver);
        let end = chunker_task.await.unwrap_or_else(|panic| {
            Err(Error::new(Kind::Bug, "reading the file panicked").with_source(panic))
        });
        drop(feed);
        let mut progress = LoadCounts::default();
        let mut first_error = None;
        for (done, error) in outcomes {
            progress.chunks += done.chunks;
            progress.staged += done.staged;
            progress.rejected += done.rejected;
            progress.repaired += done.repaired;
            progress.duplicates += done.duplicates;
            first_error = first_error.or(error);
        }
        (first_error.map_or(end, Err), progress)
    }

    /// The work of one connection: take a chunk, stage it, repeat. After a failure on any connection no further chunk
    /// is taken.
    async fn stage_chunks(
        &self,
        connection: &Mutex<Connection>,
        chunks: &Mutex<mpsc::Receiver<Chunk>>,
        failed: &AtomicBool,
        context: &LoadContext<'_>,
        commit_by: Instant,
    ) -> (LoadCounts, Option<Error>) {
        let mut progress = LoadCounts::default();
        let mut connection = connection.lock().await;
        while !failed.load(Ordering::Relaxed) {
            let Some(chunk) = chunks.lock().await.recv().await else { break };
            let started = Instant::now();
            match self.stage_chunk(&mut connection, &chunk, context, commit_by).await {
                Ok(Staged::Committed { staged_count, rejected_count }) => {
                    let repaired_count = chunk.repairs.len() as u64;
                    progress.chunks += 1;
                    progress.staged += staged_count;
                    progress.rejected += rejected_count;
                    progress.repaired += repaired_count;
                    let source = self.declared(context.source);
                    metrics::add_of(source, names::ROWS_STAGED, staged_count);
                    metrics::add_of(source, names::ROWS_REJECTED, rejected_count);
                    metrics::add_of(source, names::ROWS_REPAIRED, repaired_count);
                    info!(
                        batch_id = %chunk.batch.id,
                        source = context.source,
                        event_type = context.event_type,
                        staged_count,
                        rejected_count,
                        repaired_count,
                        duration_ms = started.elapsed().as_millis() as u64,
                        "batch staged"
                    );
                }
                Ok(Staged::Duplicate) => progress.duplicates += 1,
                Err(error) => {
                    failed.store(true, Ordering::Relaxed);
                    // The other connections may be waiting for a chunk that is never sent.
                    chunks.lock().await.close();
                    return (progress, Some(error));
                }
            }
        }
        (progress, None)
    }

    async fn stage_chunk(
        &self,
        connection: &mut Connection,
        chunk: &Chunk,
        context: &LoadContext<'_>,
        commit_by: Instant,
    ) -> Result<Staged> {
        let entry = LedgerEntry {
            origin: context.chunk_origin(chunk.span.first_record),
            rejected_count: chunk.rejects.len() as u64,
            repairs: &chunk.repairs,
            load_id: Some(context.load_id),
            span: Some(chunk.span),
        };
        ledger::stage(connection, &chunk.batch, &entry, soon(commit_by), async |refused| {
            let dead_letters = context.record_dead_letters(chunk, refused);
            self.dead_letter_queue.send(&dead_letters).await
        })
        .await
    }
}

/// An open file with the plan by which it is read.
struct OpenFile {
    records: Records<Decoded<ObjectReader>>,
    plan: LoadPlan,
    feed: Feed,
}

/// The task that fetches the object's bytes. It is stopped when this is dropped, so that nothing runs after the
/// response.
struct Feed(tokio::task::JoinHandle<()>);

impl Drop for Feed {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The deadline of a transaction that begins now.
fn soon(commit_by: Instant) -> Instant {
    commit_by.min(Instant::now() + TRANSACTION_TIMEOUT)
}

/// Where the first missing chunk starts, or `None` when it is the first chunk of the file.
fn first_missing(committed: &[CommittedChunk]) -> Option<CsvPosition> {
    let mut position = None;
    let mut next = 0;
    for chunk in committed {
        if chunk.first_record != next {
            break;
        }
        next = chunk.next_record;
        position = Some(CsvPosition { record: next, line: chunk.next_line, offset: chunk.byte_end });
    }
    position
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| Err(Error::new(Kind::Bug, "reading the file panicked").with_source(panic)))
}
