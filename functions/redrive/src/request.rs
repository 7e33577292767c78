//! What can be asked for, and what is answered.

use millrace::dead_letter::{Filter, Reason};
use millrace::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

/// An invocation's event.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    Redrive(Redrive),
    Archive(Archive),
}

/// Takes dead letters back.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Redrive {
    /// Which dead letters; an empty one is all of them, and has to be written all the same.
    pub filter: Filter,
    /// At most so many dead letters.
    #[serde(default)]
    pub at_most: Option<u64>,
    /// At most so many dead letters a second.
    #[serde(default)]
    pub rate: Option<u32>,
    /// Only dead letters that were sent before: one that fails again is not taken again by those who ask for more.
    #[serde(default, with = "millrace::dead_letter::filter::moment")]
    pub sent_before: Option<OffsetDateTime>,
}

/// Moves dead letters into the bucket.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Archive {
    pub older_than_days: u32,
}

impl Request {
    /// # Errors
    /// [`Kind::Contract`], with what can be asked for.
    pub fn read(event: Value) -> Result<Self> {
        serde_json::from_value(event).map_err(|error| {
            Error::new(
                Kind::Contract,
                "ask for {\"action\": \"redrive\", \"filter\": {…}} or {\"action\": \"archive\", \"older_than_days\": 12}",
            )
            .with_code("bad_request")
            .with_source(error)
        })
    }
}

/// The outcome of the dead letters, as counts of messages.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// What they hold is committed now, or is on its way as an upload.
    pub redriven: u64,
    /// What they hold was there before.
    pub duplicate: u64,
    /// There was nothing left to put back.
    pub void: u64,
    /// Sent again with one more attempt and the newest reason.
    pub failed: u64,
    /// Left as they were: nothing is known of them, or their time has not come.
    pub pending: u64,
    /// Other dead letters that were seen.
    pub left: u64,
    /// Time, or `at_most`, ended the run; there may be more.
    pub more: bool,
    /// Why dead letters failed or wait, the most frequent first.
    pub reasons: Vec<ReasonCount>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReasonCount {
    pub code: String,
    pub message: String,
    pub count: u64,
}

/// Different reasons beyond these are counted and not told.
const REASONS: usize = 20;

impl Summary {
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

    /// The dead letters that were tried.
    pub fn tried(&self) -> u64 {
        self.redriven + self.duplicate + self.void + self.failed + self.pending
    }
}

/// What the archive took.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct Archived {
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
    fn what_is_asked_for_is_said_whole() {
        let read = |event: Value| Request::read(event);
        assert!(read(json!({ "action": "redrive", "filter": {} })).is_ok());
        assert!(
            read(json!({ "action": "redrive", "filter": { "kind": "rows" }, "rate": 5,
                         "sent_before": "2026-01-01T00:00:00Z" }))
            .is_ok()
        );
        let archive = Request::Archive(Archive { older_than_days: 12 });
        assert_eq!(read(json!({ "action": "archive", "older_than_days": 12 })).ok(), Some(archive));
        for event in [
            json!({}),
            json!({ "action": "redrive" }),
            json!({ "action": "drop" }),
            json!({ "action": "redrive", "filter": { "sources": "a" } }),
            // What EventBridge sends by itself.
            json!({ "source": "aws.events", "detail-type": "Scheduled Event" }),
        ] {
            let error = read(event.clone()).err();
            assert_eq!(error.map(|error| error.code()), Some("bad_request"), "{event}");
        }
    }

    #[test]
    fn reasons_are_counted_by_what_they_say() {
        let mut summary = Summary::default();
        for message in ["a", "b", "a"] {
            summary.add_reason(&Reason::new("c", message));
        }
        let counts: Vec<_> = summary.reasons.iter().map(|reason| (&*reason.message, reason.count)).collect();
        assert_eq!(counts, [("a", 2), ("b", 1)]);
    }
}
