//! Redrives dead letters of single records: each record is read again under the current `sources.toml`.
//!
//! A record that is now accepted becomes a batch, whose origin is the id of its dead letter. A record that is redriven
//! twice is therefore stored once. The batch belongs to the record's load and is superseded with it when a newer
//! version of the file is loaded.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures_util::stream::{self, StreamExt};
use millrace::batch::{Batch, BatchBuilder};
use millrace::clock::ReceivedAt;
use millrace::config::sources::ObjectRoute;
use millrace::database::Connection;

use millrace::dead_letter::redrive::{RedriveOutcome, RedriveResult};
use millrace::dead_letter::{DeadLetter, DeadLetterKind, Reason};
use millrace::ledger::{self, LedgerEntry, Repair, Staged};
use millrace::origin::redriven_record;
use millrace::{Code, Error, Kind, Policy, Result};
use tokio::sync::Mutex;

use crate::chunks::{Chunker, read_single_chunk};
use crate::dead_letters::reject_reason;
use crate::load::Loader;
use crate::loads;
use crate::plan::LoadPlan;
use millrace_csv::{CsvPosition, Records};

impl Loader {
    /// Redrives dead letters of kind `rows` and returns the outcome of each, in their order.
    pub async fn redrive(&self, dead_letters: Vec<DeadLetter>, deadline: Instant) -> Vec<RedriveResult> {
        // After the database fails once, it is not queried again for the remaining dead letters.
        let has_failed = AtomicBool::new(false);
        let has_failed = &has_failed;
        stream::iter(dead_letters.into_iter().enumerate())
            .map(async |(index, dead_letter)| {
                let id = dead_letter.id;
                let connection = &self.connections[index % self.connections.len()];
                if has_failed.load(Ordering::Relaxed) {
                    return RedriveResult {
                        id,
                        outcome: RedriveOutcome::Pending {
                            message: "an earlier dead letter of the batch could not be stored".into(),
                        },
                    };
                }
                let outcome =
                    self.redrive_one(dead_letter, connection, deadline).await.unwrap_or_else(|error| {
                        has_failed.fetch_or(error.kind().policy() != Policy::DeadLetter, Ordering::Relaxed);
                        RedriveOutcome::of_error(&error)
                    });
                RedriveResult { id, outcome }
            })
            .buffered(self.connections.len())
            .collect()
            .await
    }

    async fn redrive_one(
        &self,
        dead_letter: DeadLetter,
        connection: &Mutex<Connection>,
        deadline: Instant,
    ) -> Result<RedriveOutcome> {
        let dead_letter = self.dead_letter_queue.reader().open(&dead_letter).await?;
        let (DeadLetterKind::Rows, Some(load_id), Some(key)) =
            (dead_letter.kind, dead_letter.origin.load_id, &dead_letter.origin.key)
        else {
            return Ok(pending("the dead letter names no record of a file that was read"));
        };
        let ObjectRoute::Csv(route) = self.sources.route(key) else {
            return Ok(pending("sources.toml no longer has a source for the file"));
        };
        let mut connection = connection.lock().await;
        let Some(load) = loads::find_redriven(&mut connection, load_id, deadline).await? else {
            return Ok(pending("the load that read the file is no longer in staging.loads"));
        };
        if load.is_hidden {
            return Ok(RedriveOutcome::Void {
                message: "a newer version of the file, or a later attempt at it, has superseded it".into(),
            });
        }
        let Some(raw) = dead_letter.payload.to_raw() else {
            return Ok(pending("the dead letter holds no text of a record"));
        };
        if raw.len() >= self.settings.limits.max_reject_bytes {
            let why = "the dead letter holds only the beginning of the record: fix it in the file, and upload the file again";
            return Ok(pending(why));
        }
        let (batch, repairs) = match self.read_redrive(&dead_letter, &raw, load.plan.under(route)) {
            Ok(read) => read,
            Err(reason) => return Ok(RedriveOutcome::Failed { reason }),
        };
        if batch.row_count() == 0 {
            return Ok(RedriveOutcome::Void {
                message: "it is not a record under the current sources.toml".into(),
            });
        }
        let entry = LedgerEntry {
            origin: redriven_record(dead_letter.id),
            rejected_count: 0,
            repairs: &repairs,
            load_id: Some(load_id),
            span: None,
        };
        // A batch without its one row is not committed: its origin would block the next redrive.
        let mut refusal = None;
        let staged = ledger::stage(&mut connection, &batch, &entry, deadline, async |refused| {
            let Some(row) = refused.first() else { return Ok(()) };
            refusal = Some(Reason::refused(&row.refusal));
            Err(Error::new(Kind::Contract, "the database refuses the record")
                .with_code(Code::RefusedByDatabase))
        })
        .await;
        if let Some(reason) = refusal {
            return Ok(RedriveOutcome::Failed { reason });
        }
        let staged = staged?;
        loads::finish_redriven(&mut connection, load_id, deadline).await?;
        Ok(match staged {
            Staged::Committed { .. } => RedriveOutcome::Redriven,
            Staged::Duplicate => RedriveOutcome::Duplicate,
        })
    }

    /// The dead letter's record as a batch. The batch has no rows when the text holds no record, as with a comment.
    fn read_redrive(
        &self,
        dead_letter: &DeadLetter,
        raw: &[u8],
        plan: LoadPlan,
    ) -> Result<(Batch, Vec<Repair>), Reason> {
        if dead_letter.reason.code == Code::RefusedByDatabase {
            // The record was already parsed and is JSON.
            let mut builder =
                BatchBuilder::new(&plan.source, &plan.event_type, ReceivedAt::now(), plan.bounds());
            builder.push(raw);
            return Ok((builder.finish(), Vec::new()));
        }
        let (record, line, offset) =
            (dead_letter.origin.record, dead_letter.origin.line, dead_letter.origin.offset);
        let records = Records::new(
            raw,
            plan.file.dialect.clone(),
            self.settings.limits,
            plan.options.ragged,
            plan.options.invalid_characters,
            CsvPosition {
                record: record.unwrap_or_default(),
                line: line.unwrap_or_default(),
                offset: offset.unwrap_or_default(),
            },
        )
        .with_windows_1252(plan.file.falls_back_to_windows_1252());
        let chunk = read_single_chunk(records, &Chunker::of(&plan, &[], Instant::now()))
            .map_err(|error| Reason::new(error.code(), error.chain()))?;
        match chunk.rejects.first() {
            Some(reject) => Err(reject_reason(reject)),
            None => Ok((chunk.batch, chunk.repairs)),
        }
    }
}

/// A dead letter that cannot be tried stays as it is: its reason still describes how the record must be read.
fn pending(why: &str) -> RedriveOutcome {
    RedriveOutcome::Pending { message: why.to_owned() }
}
