//! Filters of dead letters. This module does no I/O.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::envelope::{DeadLetter, DeadLetterKind};

/// Every field that is set must match. An empty filter matches every dead letter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// One of these ids. An empty list matches no dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<Uuid>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<DeadLetterKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// The reason's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The model that refused the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// First failed before this time; RFC 3339 in JSON.
    #[serde(with = "moment", skip_serializing_if = "Option::is_none")]
    pub failed_before: Option<OffsetDateTime>,
    /// First failed at this time or later; RFC 3339 in JSON.
    #[serde(with = "moment", skip_serializing_if = "Option::is_none")]
    pub failed_since: Option<OffsetDateTime>,
}

impl Filter {
    /// Whether it matches every dead letter.
    pub fn is_empty(&self) -> bool {
        *self == Filter::default()
    }

    pub fn matches(&self, dead_letter: &DeadLetter) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        self.ids.as_ref().is_none_or(|ids| ids.contains(&dead_letter.id))
            && self.kind.is_none_or(|kind| kind == dead_letter.kind)
            && is(&self.source, dead_letter.source.as_deref())
            && is(&self.event_type, dead_letter.event_type.as_deref())
            && is(&self.code, Some(&dead_letter.reason.code))
            && is(&self.model, dead_letter.reason.model.as_deref())
            && self.matches_time(&dead_letter.first_failed_at)
    }

    /// An invalid time is neither before nor after another time.
    fn matches_time(&self, first_failed_at: &str) -> bool {
        if self.failed_before.is_none() && self.failed_since.is_none() {
            return true;
        }
        OffsetDateTime::parse(first_failed_at, &Rfc3339).is_ok_and(|at| {
            self.failed_before.is_none_or(|before| at < before)
                && self.failed_since.is_none_or(|since| at >= since)
        })
    }
}

/// RFC 3339, as everywhere in a dead letter.
pub mod moment {
    use serde::{Deserialize, Deserializer, Serializer, de, ser};
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    pub fn serialize<S: Serializer>(at: &Option<OffsetDateTime>, serializer: S) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => serializer.serialize_str(&at.format(&Rfc3339).map_err(ser::Error::custom)?),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<OffsetDateTime>, D::Error> {
        let text: Option<String> = Option::deserialize(deserializer)?;
        text.map(|text| OffsetDateTime::parse(&text, &Rfc3339).map_err(de::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::envelope::{Origin, Payload, Reason};
    use super::*;
    use crate::code::Code;

    fn dead_letter() -> DeadLetter {
        let mut reason = Reason::new(Code::RefusedByModel, "no");
        reason.model = Some("orders".to_owned());
        let mut dead_letter = DeadLetter::new(
            DeadLetterKind::Event,
            "event:1",
            Some("shop"),
            Some("orders"),
            reason,
            Origin::default(),
            Payload::raw(b"{}"),
        );
        dead_letter.first_failed_at = "2026-01-02T03:04:05.5Z".to_owned();
        dead_letter
    }

    fn filter(json: serde_json::Value) -> Filter {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn every_field_that_is_given_must_match() {
        let dead_letter = dead_letter();
        for (json, matches) in [
            (json!({}), true),
            (json!({ "ids": [dead_letter.id] }), true),
            (json!({ "ids": [Uuid::nil(), dead_letter.id] }), true),
            (json!({ "ids": [Uuid::nil()] }), false),
            (json!({ "ids": [] }), false),
            (json!({ "kind": "event" }), true),
            (json!({ "kind": "rows" }), false),
            (json!({ "source": "shop" }), true),
            (json!({ "source": "Shop" }), false),
            (json!({ "source": "shop", "event_type": "orders" }), true),
            (json!({ "source": "shop", "event_type": "refunds" }), false),
            (json!({ "event_type": "orders" }), true),
            (json!({ "code": "refused_by_model" }), true),
            (json!({ "code": "refused" }), false),
            (json!({ "model": "orders" }), true),
            (json!({ "model": "refunds" }), false),
            (json!({ "failed_before": "2026-01-02T03:04:06Z" }), true),
            (json!({ "failed_before": "2026-01-02T03:04:05.5Z" }), false),
            (json!({ "failed_since": "2026-01-02T03:04:05.5Z" }), true),
            (json!({ "failed_since": "2026-01-02T04:04:05.5+01:00" }), true),
            (json!({ "failed_since": "2026-01-02T03:04:06Z" }), false),
            (json!({ "kind": "event", "source": "shop", "code": "test_failed" }), false),
        ] {
            assert_eq!(filter(json.clone()).matches(&dead_letter), matches, "{json}");
            assert_eq!(filter(json.clone()).is_empty(), json == json!({}), "{json}");
        }
    }

    #[test]
    fn what_a_dead_letter_does_not_say_is_not_what_is_asked_for() {
        let bare = DeadLetter {
            source: None,
            event_type: None,
            first_failed_at: "soon".to_owned(),
            ..dead_letter()
        };
        assert!(filter(json!({})).matches(&bare));
        for json in [
            json!({ "source": "shop" }),
            json!({ "event_type": "orders" }),
            json!({ "failed_before": "9999-01-01T00:00:00Z" }),
            json!({ "failed_since": "0001-01-01T00:00:00Z" }),
        ] {
            assert!(!filter(json.clone()).matches(&bare), "{json}");
        }
    }

    #[test]
    fn a_filter_reads_back_and_takes_no_field_it_does_not_know() {
        let json = json!({ "ids": [Uuid::nil()], "kind": "rows", "source": "a", "event_type": "b", "code": "c",
            "model": "d", "failed_before": "2026-01-02T03:04:05Z", "failed_since": "2026-01-01T00:00:00Z" });
        assert_eq!(serde_json::to_value(filter(json.clone())).unwrap(), json);
        assert_eq!(serde_json::to_value(Filter::default()).unwrap(), json!({}));
        for wrong in [json!({ "sources": "a" }), json!({ "kind": "row" }), json!({ "failed_since": "today" })]
        {
            assert!(serde_json::from_value::<Filter>(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
