//! Letters on their way back: what a function is asked to take again, and what it says became of each.
//!
//! A function takes back the letters that it sends, under its own role and today's configuration. Whoever asks deletes a
//! letter only once it knows its fate.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::info;
use uuid::Uuid;

use super::{Letter, Reason};
use crate::{Error, Kind, Result};

/// An invocation's event: `{"redrive": [letter, …]}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    pub redrive: Vec<Letter>,
}

/// The answer to it: a fate for each letter, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub fates: Vec<Outcome>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub id: Uuid,
    #[serde(flatten)]
    pub fate: Fate,
}

/// What became of a letter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fate", rename_all = "snake_case")]
pub enum Fate {
    /// What it holds is committed, by this call.
    Redriven,
    /// What it holds was there before.
    Duplicate,
    /// There is nothing left to put back: a newer version of its file took its place.
    Void { why: String },
    /// It cannot be taken, again.
    Failed { reason: Reason },
    /// Nothing is known, or its time has not come: it stays in the queue.
    Waits { why: String },
}

impl Fate {
    /// What to do about a letter whose redrive ended in `error`: what may pass leaves it where it is.
    pub fn of_error(error: &Error) -> Fate {
        match error.kind() {
            Kind::Contract => Fate::Failed { reason: Reason::new(error.code(), error.chain()) },
            _ => Fate::Waits { why: error.chain() },
        }
    }

    /// Whether the letter is done with, and its message may go.
    pub fn is_settled(&self) -> bool {
        matches!(self, Fate::Redriven | Fate::Duplicate | Fate::Void { .. })
    }
}

impl Request {
    /// The letters that an event asks to take back; `None` when it is any other event.
    ///
    /// # Errors
    /// When it asks for that, and holds something else than letters.
    pub fn read(event: &Value) -> Option<Result<Vec<Letter>>> {
        let letters = event.get("redrive")?;
        Some(Vec::deserialize(letters).map_err(|error| {
            Error::new(Kind::Contract, "read the letters to take back")
                .with_code("not_a_letter")
                .with_source(error)
        }))
    }
}

impl Answer {
    /// The answer about letters that were taken back since `started`, with the line that tells of them.
    pub fn new(fates: Vec<Outcome>, started: Instant) -> Self {
        let redriven_count = fates.iter().filter(|outcome| outcome.fate == Fate::Redriven).count();
        let duration_ms = started.elapsed().as_millis() as u64;
        info!(letter_count = fates.len(), redriven_count, duration_ms, "letters taken back");
        Answer { fates }
    }

    /// As what a function answers Lambda with.
    pub fn to_value(&self) -> Result<Value> {
        serde_json::to_value(self)
            .map_err(|error| Error::new(Kind::Bug, "write the fates of letters").with_source(error))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fate_is_a_word_with_its_reason() {
        let id = Uuid::nil();
        let reason = Reason::new("wrong_type", "not a number");
        let cases = [
            (Fate::Redriven, json!({ "id": id, "fate": "redriven" })),
            (Fate::Void { why: "replaced".into() }, json!({ "id": id, "fate": "void", "why": "replaced" })),
            (
                Fate::Failed { reason },
                json!({ "id": id, "fate": "failed",
                        "reason": { "code": "wrong_type", "message": "not a number" } }),
            ),
        ];
        for (fate, value) in cases {
            let outcome = Outcome { id, fate };
            assert_eq!(serde_json::to_value(&outcome).unwrap(), value);
            assert_eq!(serde_json::from_value::<Outcome>(value).unwrap(), outcome);
        }
    }

    #[test]
    fn other_events_are_none_of_ours() {
        assert!(Request::read(&json!({ "Records": [] })).is_none());
        assert!(Request::read(&json!({ "redrive": [] })).is_some_and(|letters| letters.is_ok()));
        let error = Request::read(&json!({ "redrive": [1] })).and_then(Result::err);
        assert_eq!(error.map(|error| error.code()), Some("not_a_letter"));
    }

    #[test]
    fn only_what_cannot_pass_fails_again() {
        let contract = Error::new(Kind::Contract, "no").with_code("wrong_type");
        assert!(matches!(Fate::of_error(&contract), Fate::Failed { .. }));
        for kind in [Kind::Transient, Kind::Conflict, Kind::Config, Kind::Bug] {
            assert!(matches!(Fate::of_error(&Error::new(kind, "no")), Fate::Waits { .. }));
        }
    }
}
