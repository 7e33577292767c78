//! The dead letters of a file: one for each rejected record, and one for a file that could not be loaded.

use millrace::copy::RefusedRow;
use millrace::dead_letter::{DeadLetter, DeadLetterKind, Origin, Payload, Reason};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::chunks::Chunk;
use crate::object::Object;
use millrace::notification::ObjectCreated;
use millrace_csv::{CsvPosition, CsvReject};

/// The file and the attempt that the dead letters belong to.
#[derive(Debug, Clone, Copy)]
pub struct LoadContext<'a> {
    pub object: &'a Object,
    pub load_id: Uuid,
    /// The number of the attempt at the file.
    pub attempt: u32,
    pub source: &'a str,
    pub event_type: &'a str,
}

impl LoadContext<'_> {
    /// Returns a dead letter for each reject of `chunk`, and for each of its rows that PostgreSQL refused.
    pub fn record_dead_letters(&self, chunk: &Chunk, refused: &[RefusedRow]) -> Vec<DeadLetter> {
        let rejects = chunk.rejects.iter().map(|reject| self.reject_dead_letter(reject));
        let refused = refused.iter().filter_map(|row| {
            let position = chunk.positions.get(row.row)?;
            let reason = Reason::refused(&row.refusal);
            Some(self.record_dead_letter(position, reason, Payload::raw(&chunk.batch.payload(row.row))))
        });
        rejects.chain(refused).collect()
    }

    fn reject_dead_letter(&self, reject: &CsvReject) -> DeadLetter {
        self.record_dead_letter(&reject.position, reject_reason(reject), Payload::raw(&reject.raw))
    }

    fn record_dead_letter(&self, position: &CsvPosition, reason: Reason, payload: Payload) -> DeadLetter {
        let origin = Origin {
            record: Some(position.record),
            line: Some(position.line),
            offset: Some(position.offset),
            ..self.origin()
        };
        DeadLetter::new(
            DeadLetterKind::Rows,
            &format!("{}@{}", self.object.versioned.origin(), position.offset),
            Some(self.source),
            Some(self.event_type),
            reason,
            origin,
            payload,
        )
    }

    /// The origin of the chunk that starts at `first_record`, different for each attempt.
    pub fn chunk_origin(&self, first_record: u64) -> String {
        self.object.versioned.chunk_origin(self.attempt, first_record)
    }

    fn origin(&self) -> Origin {
        Origin {
            bucket: Some(self.object.versioned.bucket.clone()),
            key: Some(self.object.versioned.key.clone()),
            version: Some(self.object.versioned.version.clone()),
            load_id: Some(self.load_id),
            ..Origin::default()
        }
    }

    /// The dead letter of a file whose load ended early. Redrive queues the file again by `notification`.
    pub fn upload_dead_letter(&self, reason: Reason, staged: Value, created: &ObjectCreated) -> DeadLetter {
        let payload = json!({ "notification": created.body, "staged": staged });
        let dead_letter = DeadLetter::new(
            DeadLetterKind::Upload,
            &self.object.versioned.origin(),
            Some(self.source),
            Some(self.event_type),
            reason,
            self.origin(),
            Payload::Json(payload),
        );
        after_attempts(dead_letter, created)
    }
}

/// Why a record was rejected: the same text when its file is read and when its dead letter is redriven.
pub fn reject_reason(reject: &CsvReject) -> Reason {
    let message = if (reject.raw.len() as u64) < reject.raw_len {
        let kept = reject.raw.len();
        format!("{}; of {} bytes the first {kept} are kept here", reject.reason, reject.raw_len)
    } else {
        reject.reason.clone().into_owned()
    };
    let mut reason = Reason::new(reject.code, message);
    reason.column = reject.column.clone();
    reason
}

/// The dead letter of a redriven file that fails again, with its number of attempts and the time of the first failure.
pub fn after_attempts(dead_letter: DeadLetter, created: &ObjectCreated) -> DeadLetter {
    match &created.redrive {
        Some(redrive) => DeadLetter {
            attempts: redrive.attempt,
            first_failed_at: redrive.first_failed_at.clone(),
            ..dead_letter
        },
        None => dead_letter,
    }
}

/// The dead letter of a message that names no file: its key has no source, or it is not a notification.
pub fn message_dead_letter(name: &str, reason: Reason, origin: Origin, body: Value) -> DeadLetter {
    DeadLetter::new(DeadLetterKind::Upload, name, None, None, reason, origin, Payload::Json(body))
}
