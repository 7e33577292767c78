//! The requests that the function redrive accepts, and its responses.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use super::envelope::Reason;
use super::filter::{Filter, moment};
use crate::{Code, Error, Kind, Result};

/// The event of an invocation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum RunRequest {
    Redrive(RedriveRun),
    Archive(ArchiveRun),
}

/// Redrives dead letters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RedriveRun {
    /// Selects dead letters. An empty filter selects all of them. It must be given explicitly.
    pub filter: Filter,
    /// The maximum number of dead letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u64>,
    /// The maximum number of dead letters per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// Only dead letters that were sent before this time. A caller that invokes repeatedly passes the same time, so
    /// that a dead letter that fails again is not redriven again.
    #[serde(default, with = "moment", skip_serializing_if = "Option::is_none")]
    pub sent_before: Option<OffsetDateTime>,
}

/// Archives dead letters in the bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArchiveRun {
    pub older_than_days: u32,
}

impl RunRequest {
    /// # Errors
    /// [`Kind::Contract`], with the accepted forms.
    pub fn read(event: Value) -> Result<Self> {
        serde_json::from_value(event).map_err(|error| {
            Error::new(
                Kind::Contract,
                "ask for {\"action\": \"redrive\", \"filter\": {…}} or {\"action\": \"archive\", \"older_than_days\": 12}",
            )
            .with_code(Code::BadRequest)
            .with_source(error)
        })
    }
}

/// The outcomes of the dead letters, as counts of messages.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct RedriveSummary {
    /// Their content is committed now, or the upload is queued again.
    pub redriven: u64,
    /// Their content was stored before.
    pub duplicate: u64,
    /// They had nothing left to redrive.
    pub void: u64,
    /// They failed again and were sent again, with one more attempt and the newest reason.
    pub failed: u64,
    /// They stay unchanged, because their outcome is unknown or they cannot be tried yet.
    pub pending: u64,
    /// Dead letters that were received and did not match.
    pub left: u64,
    /// Time or `at_most` ended the run. More dead letters may be left.
    pub more: bool,
    /// Why dead letters failed or are pending, the most frequent reason first.
    pub reasons: Vec<ReasonCount>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonCount {
    pub code: String,
    pub message: String,
    pub count: u64,
}

/// Further distinct reasons are counted and not reported.
const REASONS: usize = 20;

impl RedriveSummary {
    pub fn add_reason(&mut self, reason: &Reason) {
        if let Some(known) =
            self.reasons.iter_mut().find(|known| known.code == reason.code && known.message == reason.message)
        {
            known.count += 1;
        } else if self.reasons.len() < REASONS {
            let Reason { code, message, .. } = reason.clone();
            self.reasons.push(ReasonCount { code, message, count: 1 });
        }
    }

    /// The number of dead letters that were tried.
    pub fn tried(&self) -> u64 {
        self.redriven + self.duplicate + self.void + self.failed + self.pending
    }
}

/// The counts of an archive run.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct ArchiveSummary {
    pub archived: u64,
    /// Dead letters that are not old enough.
    pub left: u64,
    pub more: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_have_an_explicit_action_and_filter() {
        let read = |event: Value| RunRequest::read(event);
        assert!(read(json!({ "action": "redrive", "filter": {} })).is_ok());
        assert!(
            read(json!({ "action": "redrive", "filter": { "kind": "rows" }, "rate": 5,
                         "sent_before": "2026-01-01T00:00:00Z" }))
            .is_ok()
        );
        let archive = RunRequest::Archive(ArchiveRun { older_than_days: 12 });
        assert_eq!(read(json!({ "action": "archive", "older_than_days": 12 })).ok(), Some(archive));
        for event in [
            json!({}),
            json!({ "action": "redrive" }),
            json!({ "action": "drop" }),
            json!({ "action": "redrive", "filter": { "sources": "a" } }),
            // The event that EventBridge sends.
            json!({ "source": "aws.events", "detail-type": "Scheduled Event" }),
        ] {
            let error = read(event.clone()).err();
            assert_eq!(error.map(|error| error.code()), Some(Code::BadRequest), "{event}");
        }
    }

    #[test]
    fn reasons_are_counted_by_text() {
        let mut summary = RedriveSummary::default();
        for message in ["a", "b", "a"] {
            summary.add_reason(&Reason::new(Code::Pending, message));
        }
        let counts: Vec<_> = summary.reasons.iter().map(|reason| (&*reason.message, reason.count)).collect();
        assert_eq!(counts, [("a", 2), ("b", 1)]);
    }
}
