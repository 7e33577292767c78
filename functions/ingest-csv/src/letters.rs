//! The dead letters of a file: one for each record that could not become a row, one for a file that could not be loaded.

use millrace::copy::RefusedRow;
use millrace::dead_letter::{Letter, LetterKind, Origin, Payload, Reason};
use serde_json::{Value, json};

use crate::chunks::Chunk;
use crate::csv::{Position, Reject};
use crate::object::Object;

/// Whose letters these are.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'a> {
    pub object: &'a Object,
    pub source: &'a str,
    pub event_type: &'a str,
}

impl Sender<'_> {
    /// A letter for each reject of `chunk`, and for each of its rows that PostgreSQL refused.
    pub fn record_letters(&self, chunk: &Chunk, refused: &[RefusedRow]) -> Vec<Letter> {
        let rejects = chunk.rejects.iter().map(|reject| self.reject_letter(reject));
        let refused = refused.iter().filter_map(|row| {
            let position = chunk.positions.get(row.row)?;
            let mut reason = Reason::new("refused_by_database", row.refusal.message.clone());
            reason.sqlstate = Some(row.refusal.sqlstate.clone());
            Some(self.record_letter(position, reason, Payload::raw(&chunk.batch.payload(row.row))))
        });
        rejects.chain(refused).collect()
    }

    fn reject_letter(&self, reject: &Reject) -> Letter {
        let message = if (reject.raw.len() as u64) < reject.raw_len {
            format!(
                "{}; of {} bytes the first {} are kept here",
                reject.reason,
                reject.raw_len,
                reject.raw.len()
            )
        } else {
            reject.reason.clone().into_owned()
        };
        let mut reason = Reason::new(reject.code, message);
        reason.column = reject.column.clone();
        self.record_letter(&reject.position, reason, Payload::raw(&reject.raw))
    }

    fn record_letter(&self, position: &Position, reason: Reason, payload: Payload) -> Letter {
        let origin = Origin {
            record: Some(position.record),
            line: Some(position.line),
            offset: Some(position.offset),
            ..self.origin()
        };
        Letter::new(
            LetterKind::Rows,
            &format!("{}@{}", self.object.origin(), position.offset),
            Some(self.source),
            Some(self.event_type),
            reason,
            origin,
            payload,
        )
    }

    fn origin(&self) -> Origin {
        Origin {
            bucket: Some(self.object.bucket.clone()),
            key: Some(self.object.key.clone()),
            version: Some(self.object.version_name()),
            ..Origin::default()
        }
    }

    /// The letter of a file whose load ended early; `notification` lets it be put back through the front door.
    pub fn upload_letter(&self, reason: Reason, staged: Value, notification: &Value) -> Letter {
        Letter::new(
            LetterKind::Upload,
            &self.object.origin(),
            Some(self.source),
            Some(self.event_type),
            reason,
            self.origin(),
            Payload::Json(json!({ "notification": notification, "staged": staged })),
        )
    }
}

/// The letter of a message that leads to no file: it names no source, or is no notification at all.
pub fn message_letter(name: &str, reason: Reason, origin: Origin, body: Value) -> Letter {
    Letter::new(LetterKind::Upload, name, None, None, reason, origin, Payload::Json(body))
}
