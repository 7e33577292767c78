//! Moves dead letters from the queue to their targets, until none is left or time is up.
//!
//! A message is deleted only when the outcome of its dead letter is known. If the dead letter failed again, the new one
//! must be in the queue first. A killed run therefore leaves dead letters behind and loses none. Each redrive target
//! stores their content once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use millrace::dead_letter::redrive::RedriveOutcome;
use millrace::dead_letter::run::RedriveSummary;
use millrace::dead_letter::scan::Scan;
use millrace::dead_letter::{
    DeadLetter, DeadLetterKind, DeadLetterQueue, DeadLetterReader, Filter, ParsedMessage, Reason,
    ReceivedMessage,
};
use millrace::{Code, Result};
use time::OffsetDateTime;
use tracing::info;
use uuid::Uuid;

use crate::targets::RedriveTargets;

/// The number of dead letters in a batch.
const BATCH_SIZE: usize = 200;
const BATCH_BYTES: usize = 8 << 20;
const KINDS: [DeadLetterKind; 4] =
    [DeadLetterKind::Upload, DeadLetterKind::Rows, DeadLetterKind::Delivery, DeadLetterKind::Event];

pub struct Run<'r> {
    pub reader: DeadLetterReader,
    pub dead_letter_queue: &'r DeadLetterQueue,
    pub targets: &'r RedriveTargets,
    pub filter: &'r Filter,
    pub at_most: u64,
    /// Dead letters per second.
    pub rate: u32,
    pub sent_before: OffsetDateTime,
    /// No dead letter is received after this moment.
    pub until: Instant,
}

/// A dead letter with the message that holds it.
struct Received {
    message: ReceivedMessage,
    dead_letter: DeadLetter,
}

impl Run<'_> {
    /// Redrives the dead letters that match. When this returns, also with an error, every other dead letter is visible
    /// again.
    ///
    /// # Errors
    /// When the queue cannot be read or written. Dead letters that a redrive target refuses are counted and are no
    /// error.
    pub async fn run(&self) -> Result<RedriveSummary> {
        let mut scan = self.reader.scan();
        let mut summary = RedriveSummary::default();
        let ended = self.take(&mut scan, &mut summary).await;
        let finished = scan.finish().await;
        ended.and(finished).map(|()| summary)
    }

    async fn take(&self, scan: &mut Scan, summary: &mut RedriveSummary) -> Result<()> {
        let mut batch: Vec<Received> = Vec::new();
        loop {
            if self.is_over(summary) {
                summary.more = true;
                return Ok(());
            }
            let messages = scan.next().await?;
            let is_last = messages.is_none();
            for message in messages.into_iter().flatten() {
                match message.read(self.reader.sources()) {
                    ParsedMessage::DeadLetter(dead_letter) if self.is_meant(&message, &dead_letter) => {
                        batch.push(Received { message, dead_letter });
                    }
                    _ => summary.left += 1,
                }
            }
            while !batch.is_empty() && (is_last || self.is_full(&batch, summary)) && !self.is_over(summary) {
                let rest = batch.split_off(self.most(summary).min(batch.len()));
                let taken = std::mem::replace(&mut batch, rest);
                self.redrive(scan, taken, summary).await?;
            }
            if is_last {
                summary.more = !batch.is_empty() || !scan.is_complete();
                return Ok(());
            }
        }
    }

    /// The size of the next batch, within the limits that are left.
    fn most(&self, summary: &RedriveSummary) -> usize {
        let room = self.at_most.saturating_sub(summary.tried());
        BATCH_SIZE.min(self.rate as usize).min(usize::try_from(room).unwrap_or(usize::MAX))
    }

    fn is_over(&self, summary: &RedriveSummary) -> bool {
        self.most(summary) == 0 || Instant::now() >= self.until
    }

    fn is_full(&self, batch: &[Received], summary: &RedriveSummary) -> bool {
        let bytes: usize = batch.iter().map(|received| received.message.body.len()).sum();
        batch.len() >= self.most(summary) || bytes >= BATCH_BYTES
    }

    fn is_meant(&self, message: &ReceivedMessage, dead_letter: &DeadLetter) -> bool {
        OffsetDateTime::from(message.sent_at) < self.sent_before && self.filter.matches(dead_letter)
    }

    /// Handles one batch: sends it to its targets, then deletes its messages.
    async fn redrive(&self, scan: &Scan, batch: Vec<Received>, summary: &mut RedriveSummary) -> Result<()> {
        let started = Instant::now();
        // A dead letter may be in the queue twice. It is sent once, and both messages have its outcome.
        let mut dead_letters: HashMap<Uuid, &DeadLetter> = HashMap::new();
        for received in &batch {
            let known = dead_letters.entry(received.dead_letter.id).or_insert(&received.dead_letter);
            if received.dead_letter.attempts > known.attempts {
                *known = &received.dead_letter;
            }
        }
        let of_kind = KINDS.map(|kind| {
            let of_kind: Vec<DeadLetter> = dead_letters
                .values()
                .filter(|dead_letter| dead_letter.kind == kind)
                .map(|dead_letter| (*dead_letter).clone())
                .collect();
            async move {
                let outcomes = self.targets.redrive(kind, &of_kind).await;
                of_kind.into_iter().map(|dead_letter| dead_letter.id).zip(outcomes).collect::<Vec<_>>()
            }
        });
        let outcomes: HashMap<Uuid, RedriveOutcome> = join_all(of_kind).await.into_iter().flatten().collect();
        // New dead letters are sent before their old messages are deleted: a crash in between repeats a dead letter.
        let again: Vec<DeadLetter> = dead_letters
            .values()
            .filter_map(|dead_letter| match outcomes.get(&dead_letter.id)? {
                RedriveOutcome::Failed { reason } => Some(dead_letter.failed_again(reason.clone())),
                _ => None,
            })
            .collect();
        self.dead_letter_queue.send(&again).await?;
        let known = |received: &&Received| {
            outcomes
                .get(&received.dead_letter.id)
                .is_some_and(|outcome| !matches!(outcome, RedriveOutcome::Pending { .. }))
        };
        let done: Vec<&ReceivedMessage> =
            batch.iter().filter(known).map(|received| &received.message).collect();
        scan.delete(&done).await?;
        let settled = batch.iter().filter(|received| {
            outcomes.get(&received.dead_letter.id).is_some_and(RedriveOutcome::is_settled)
        });
        for received in settled {
            self.reader.delete_object(&received.dead_letter).await?;
        }
        for received in &batch {
            count(summary, outcomes.get(&received.dead_letter.id));
        }
        info!(
            dead_letter_count = batch.len(),
            duration_ms = started.elapsed().as_millis() as u64,
            "batch redriven"
        );
        let due = Duration::from_secs_f64(batch.len() as f64 / f64::from(self.rate.max(1)));
        tokio::time::sleep(due.saturating_sub(started.elapsed())).await;
        Ok(())
    }
}

fn count(summary: &mut RedriveSummary, outcome: Option<&RedriveOutcome>) {
    match outcome {
        Some(RedriveOutcome::Redriven) => summary.redriven += 1,
        Some(RedriveOutcome::Duplicate) => summary.duplicate += 1,
        Some(RedriveOutcome::Void { .. }) => summary.void += 1,
        Some(RedriveOutcome::Failed { reason }) => {
            summary.failed += 1;
            summary.add_reason(reason);
        }
        Some(RedriveOutcome::Pending { message }) => {
            summary.pending += 1;
            summary.add_reason(&Reason::new(Code::Pending, message));
        }
        None => summary.pending += 1,
    }
}
