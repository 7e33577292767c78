//! Records on their way back: the letters of single records, read again under today's `sources.toml`.
//!
//! A record that is taken becomes a batch of its own, whose origin is its letter: put back twice, it is there once. The
//! batch is of the record's load, and goes with it when a newer version of the file takes its place.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures_util::stream::{self, StreamExt};
use millrace::batch::{Batch, BatchBuilder};
use millrace::clock::ReceivedAt;
use millrace::config::sources::Route;
use millrace::database::Connection;
use millrace::dead_letter::door::{Fate, Outcome};
use millrace::dead_letter::{Letter, LetterKind, Reason};
use millrace::ledger::{self, Entry, Repair, Staged};
use millrace::{Error, Kind, Result};
use tokio::sync::Mutex;

use crate::chunks::{Cutting, cut_whole};
use crate::csv::{Position, Records};
use crate::letters::{REFUSED_BY_DATABASE, reject_reason};
use crate::load::Loader;
use crate::loads;
use crate::plan::LoadPlan;

impl Loader {
    /// Takes letters of kind `rows` back; the fate of each, in their order.
    pub async fn take_back(&self, letters: Vec<Letter>, deadline: Instant) -> Vec<Outcome> {
        // Once the database is away it is not asked for every letter anew.
        let away = AtomicBool::new(false);
        let away = &away;
        stream::iter(letters.into_iter().enumerate())
            .map(async |(index, letter)| {
                let id = letter.id;
                let connection = &self.connections[index % self.connections.len()];
                if away.load(Ordering::Relaxed) {
                    return Outcome {
                        id,
                        fate: Fate::Waits { why: "another letter could not be taken".into() },
                    };
                }
                let fate = self.take_back_one(letter, connection, deadline).await.unwrap_or_else(|error| {
                    away.fetch_or(error.kind() != Kind::Contract, Ordering::Relaxed);
                    Fate::of_error(&error)
                });
                Outcome { id, fate }
            })
            .buffered(self.connections.len())
            .collect()
            .await
    }

    async fn take_back_one(
        &self,
        letter: Letter,
        connection: &Mutex<Connection>,
        deadline: Instant,
    ) -> Result<Fate> {
        let letter = self.dead_letters.mailbox().open(&letter).await?;
        let (LetterKind::Rows, Some(load_id), Some(key)) =
            (letter.kind, letter.origin.load_id, &letter.origin.key)
        else {
            return Ok(waits("the letter names no record of a file that was read"));
        };
        let Route::Csv(route) = self.sources.route(key) else {
            return Ok(waits("sources.toml has no source for the file any more"));
        };
        let mut connection = connection.lock().await;
        let Some(load) = loads::find_put_back(&mut connection, load_id, deadline).await? else {
            return Ok(waits("the load that read the file is not in staging.loads any more"));
        };
        if load.is_hidden {
            return Ok(Fate::Void {
                why: "a newer version of the file, or a later attempt at it, took its place".into(),
            });
        }
        let Some(raw) = letter.payload.to_raw() else {
            return Ok(waits("the letter holds no text of a record"));
        };
        if raw.len() >= self.settings.limits.max_reject_bytes {
            let why =
                "the letter holds only the beginning of the record: mend it in the file, and put that again";
            return Ok(waits(why));
        }
        let (batch, repairs) = match self.read_again(&letter, &raw, load.plan.under(route)) {
            Ok(read) => read,
            Err(reason) => return Ok(Fate::Failed { reason }),
        };
        if batch.row_count() == 0 {
            return Ok(Fate::Void { why: "it is no record under sources.toml as it is now".into() });
        }
        let entry = Entry {
            origin: format!("redrive:{}", letter.id),
            rejected_count: 0,
            repairs,
            load_id: Some(load_id),
            span: None,
        };
        // Without its one row the batch is not worth committing: it would stand in the way of the next try.
        let mut refusal = None;
        let staged = ledger::stage(&mut connection, &batch, &entry, deadline, async |refused| {
            let Some(row) = refused.first() else { return Ok(()) };
            let mut reason = Reason::new(REFUSED_BY_DATABASE, row.refusal.message.clone());
            reason.sqlstate = Some(row.refusal.sqlstate.clone());
            refusal = Some(reason);
            Err(Error::new(Kind::Contract, "the database refuses the record").with_code(REFUSED_BY_DATABASE))
        })
        .await;
        if let Some(reason) = refusal {
            return Ok(Fate::Failed { reason });
        }
        let staged = staged?;
        loads::settle_put_back(&mut connection, load_id, deadline).await?;
        Ok(match staged {
            Staged::Committed { .. } => Fate::Redriven,
            Staged::Duplicate => Fate::Duplicate,
        })
    }

    /// The letter's record as a batch, without rows when it holds none, as a comment does.
    fn read_again(
        &self,
        letter: &Letter,
        raw: &[u8],
        plan: LoadPlan,
    ) -> Result<(Batch, Vec<Repair>), Reason> {
        if letter.reason.code == REFUSED_BY_DATABASE {
            // It was read, and is JSON already.
            let mut builder =
                BatchBuilder::new(&plan.source, &plan.event_type, ReceivedAt::now(), plan.bounds());
            builder.push(raw);
            return Ok((builder.finish(), Vec::new()));
        }
        let (record, line, offset) = (letter.origin.record, letter.origin.line, letter.origin.offset);
        let records = Records::new(
            raw,
            plan.file.dialect.clone(),
            self.settings.limits,
            plan.options.ragged,
            plan.options.invalid_characters,
            Position {
                record: record.unwrap_or_default(),
                line: line.unwrap_or_default(),
                offset: offset.unwrap_or_default(),
            },
        )
        .with_windows_1252(plan.file.falls_back_to_windows_1252());
        let chunk = cut_whole(records, &Cutting::of(&plan, &[], Instant::now()))
            .map_err(|error| Reason::new(error.code(), error.chain()))?;
        match chunk.rejects.first() {
            Some(reject) => Err(reject_reason(reject)),
            None => Ok((chunk.batch, chunk.repairs)),
        }
    }
}

/// What is not even tried keeps its letter as it is: its reason says how the record is to be read.
fn waits(why: &str) -> Fate {
    Fate::Waits { why: why.to_owned() }
}
