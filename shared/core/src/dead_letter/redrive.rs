//! Redrive requests: the dead letters that a function is to process again, and the outcome of each.
//!
//! A function redrives the dead letters that it sends, under its own role and with its current configuration. The
//! caller deletes a dead letter only after it has received the outcome.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::info;
use uuid::Uuid;

use super::{DeadLetter, Reason};
use crate::{Code, Error, Kind, Policy, Result};

/// An invocation's event: `{"redrive": [dead_letter, …]}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RedriveRequest {
    pub redrive: Vec<DeadLetter>,
}

/// The response: the outcome of each dead letter, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RedriveResponse {
    pub outcomes: Vec<RedriveResult>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RedriveResult {
    pub id: Uuid,
    #[serde(flatten)]
    pub outcome: RedriveOutcome,
}

/// The outcome of a dead letter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum RedriveOutcome {
    /// This invocation stored its data.
    Redriven,
    /// Its data was already stored.
    Duplicate,
    /// Its data is obsolete: a newer version of its file replaced it.
    Void { message: String },
    /// It failed again.
    Failed { reason: Reason },
    /// The outcome is unknown, or it must be redriven later. It stays in the queue.
    Pending { message: String },
}

impl RedriveOutcome {
    /// The outcome of a redrive that ended in `error`. A transient error leaves the dead letter in the queue.
    pub fn of_error(error: &Error) -> RedriveOutcome {
        match error.kind().policy() {
            Policy::DeadLetter => RedriveOutcome::Failed { reason: Reason::new(error.code(), error.chain()) },
            _ => RedriveOutcome::Pending { message: error.chain() },
        }
    }

    /// Whether the message of the dead letter can be deleted.
    pub fn is_settled(&self) -> bool {
        matches!(self, RedriveOutcome::Redriven | RedriveOutcome::Duplicate | RedriveOutcome::Void { .. })
    }
}

impl RedriveRequest {
    /// The dead letters of a redrive request; `None` for any other event.
    ///
    /// # Errors
    /// When a redrive request contains something other than dead letters.
    pub fn read(event: &Value) -> Option<Result<Vec<DeadLetter>>> {
        let dead_letters = event.get("redrive")?;
        Some(Vec::deserialize(dead_letters).map_err(|error| {
            Error::new(Kind::Contract, "read the dead letters of a redrive request")
                .with_code(Code::NotADeadLetter)
                .with_source(error)
        }))
    }
}

impl RedriveResponse {
    /// Creates the response of a request that began at `started`, and logs it.
    pub fn new(outcomes: Vec<RedriveResult>, started: Instant) -> Self {
        let redriven_count =
            outcomes.iter().filter(|outcome| outcome.outcome == RedriveOutcome::Redriven).count();
        let duration_ms = started.elapsed().as_millis() as u64;
        info!(dead_letter_count = outcomes.len(), redriven_count, duration_ms, "dead letters redriven");
        RedriveResponse { outcomes }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_outcome_is_tagged_and_carries_its_reason() {
        let id = Uuid::nil();
        let reason = Reason::new(Code::WrongType, "not a number");
        let cases = [
            (RedriveOutcome::Redriven, json!({ "id": id, "outcome": "redriven" })),
            (
                RedriveOutcome::Void { message: "replaced".into() },
                json!({ "id": id, "outcome": "void", "message": "replaced" }),
            ),
            (
                RedriveOutcome::Failed { reason },
                json!({ "id": id, "outcome": "failed",
                        "reason": { "code": "wrong_type", "message": "not a number" } }),
            ),
        ];
        for (outcome, value) in cases {
            let outcome = RedriveResult { id, outcome };
            assert_eq!(serde_json::to_value(&outcome).unwrap(), value);
            assert_eq!(serde_json::from_value::<RedriveResult>(value).unwrap(), outcome);
        }
    }

    #[test]
    fn other_events_are_none_of_ours() {
        assert!(RedriveRequest::read(&json!({ "Records": [] })).is_none());
        assert!(
            RedriveRequest::read(&json!({ "redrive": [] })).is_some_and(|dead_letters| dead_letters.is_ok())
        );
        let error = RedriveRequest::read(&json!({ "redrive": [1] })).and_then(Result::err);
        assert_eq!(error.map(|error| error.code()), Some(Code::NotADeadLetter));
    }

    #[test]
    fn only_what_cannot_pass_fails_again() {
        let contract = Error::new(Kind::Contract, "no").with_code(Code::WrongType);
        assert!(matches!(RedriveOutcome::of_error(&contract), RedriveOutcome::Failed { .. }));
        for kind in [Kind::Transient, Kind::Conflict, Kind::Config, Kind::Bug] {
            assert!(matches!(
                RedriveOutcome::of_error(&Error::new(kind, "no")),
                RedriveOutcome::Pending { .. }
            ));
        }
    }
}
