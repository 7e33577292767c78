//! The response to the sender, in the form that API Gateway and function URLs expect from a function.

use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use millrace::metrics::names::Metric;
use millrace::metrics::{self, names};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::problem::{Problem, ProblemKind};

const JSON: &str = "application/json";
const PROBLEM_JSON: &str = "application/problem+json";
const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// One response. It serializes as `{statusCode, headers, body, isBase64Encoded}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpResponse {
    status_code: u16,
    #[serde(serialize_with = "as_map")]
    headers: Vec<(&'static str, String)>,
    body: String,
    is_base64_encoded: bool,
    /// The outcome of the delivery and its number of events, for the metrics.
    #[serde(skip)]
    counted: Option<(Metric, u64)>,
}

/// The outcome of a durable delivery. Each is a 202.
#[derive(Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
enum DeliveryOutcome<'a> {
    Stored { event_ids: &'a [i64] },
    Queued { delivery_id: &'a str },
    Duplicate { delivery_id: &'a str },
}

#[derive(Serialize)]
struct Details<'a> {
    #[serde(rename = "type")]
    type_uri: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
}

impl HttpResponse {
    /// The delivery's events are committed.
    pub fn stored(event_ids: &[i64]) -> Self {
        Self::outcome(
            &DeliveryOutcome::Stored { event_ids },
            (names::DELIVERIES_STORED, event_ids.len() as u64),
        )
    }

    /// The whole delivery is in the dead-letter queue.
    pub fn queued(delivery_id: &str) -> Self {
        Self::outcome(&DeliveryOutcome::Queued { delivery_id }, (names::DELIVERIES_QUEUED, 0))
    }

    /// The delivery was stored before.
    pub fn duplicate(delivery_id: &str) -> Self {
        Self::outcome(&DeliveryOutcome::Duplicate { delivery_id }, (names::DELIVERIES_DUPLICATE, 0))
    }

    /// The response that Slack expects when a request URL is entered: the challenge that it sent.
    pub fn challenge(challenge: String) -> Self {
        Self::new(200, PLAIN_TEXT, challenge)
    }

    /// `request_id` identifies the invocation in the logs when a sender reports a problem.
    pub fn problem(problem: &Problem, request_id: Option<&str>) -> Self {
        let kind = problem.kind;
        let details = Details {
            type_uri: kind.type_uri(),
            title: kind.title(),
            status: kind.status(),
            detail: &problem.detail,
            instance: request_id,
        };
        let mut response = Self::new(kind.status(), PROBLEM_JSON, to_json(&details));
        let is_ours = kind.status() >= 500;
        response.counted =
            Some((if is_ours { names::DELIVERIES_TURNED_AWAY } else { names::DELIVERIES_REFUSED }, 0));
        if kind == ProblemKind::MethodNotAllowed {
            response.headers.push((ALLOW.as_str(), "POST".to_owned()));
        }
        if let Some(seconds) = problem.retry_after {
            response.headers.push((RETRY_AFTER.as_str(), seconds.to_string()));
        }
        if let Some(challenge) = problem.challenge {
            response.headers.push((WWW_AUTHENTICATE.as_str(), challenge.header().to_owned()));
        }
        response
    }

    /// Counts the outcome of a delivery to `source`. `None` when no such source is declared.
    pub fn count(&self, source: Option<&str>) {
        let Some((became, event_count)) = self.counted else { return };
        metrics::add_of(source, became, 1);
        if event_count > 0 {
            metrics::add_of(source, names::EVENTS_STORED, event_count);
        }
    }

    pub fn status(&self) -> u16 {
        self.status_code
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    pub fn body(&self) -> &str {
        &self.body
    }

    fn outcome(outcome: &DeliveryOutcome<'_>, counted: (Metric, u64)) -> Self {
        HttpResponse { counted: Some(counted), ..Self::new(202, JSON, to_json(outcome)) }
    }

    fn new(status_code: u16, content_type: &str, body: String) -> Self {
        let headers = vec![(CONTENT_TYPE.as_str(), content_type.to_owned())];
        HttpResponse { status_code, headers, body, is_base64_encoded: false, counted: None }
    }
}

fn to_json(value: &impl Serialize) -> String {
    // Structs of strings and numbers always serialize.
    serde_json::to_string(value).unwrap_or_default()
}

fn as_map<S: Serializer>(headers: &[(&'static str, String)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(headers.len()))?;
    for (name, value) in headers {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::problem::Challenge;

    fn parts(response: &HttpResponse) -> (Value, Value) {
        let whole = serde_json::to_value(response).unwrap();
        assert_eq!(whole["isBase64Encoded"], false);
        let body = whole["body"].as_str().unwrap();
        let body = serde_json::from_str(body).unwrap_or_else(|_| body.into());
        (json!({ "status": whole["statusCode"], "headers": whole["headers"] }), body)
    }

    #[test]
    fn a_durable_delivery_is_accepted_with_its_outcome() {
        for (response, expected) in [
            (HttpResponse::stored(&[7]), json!({ "status": "stored", "event_ids": [7] })),
            (HttpResponse::stored(&[]), json!({ "status": "stored", "event_ids": [] })),
            (HttpResponse::queued("a\"b"), json!({ "status": "queued", "delivery_id": "a\"b" })),
            (HttpResponse::duplicate("d"), json!({ "status": "duplicate", "delivery_id": "d" })),
        ] {
            let head = json!({ "status": 202, "headers": { "content-type": "application/json" } });
            assert_eq!(parts(&response), (head, expected));
        }
    }

    #[test]
    fn a_challenge_is_returned_as_plain_text() {
        let response = HttpResponse::challenge("3eZbrw1a".to_owned());
        assert_eq!((response.status(), response.body()), (200, "3eZbrw1a"));
        assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    }

    #[test]
    fn a_problem_has_every_member_of_rfc_9457() {
        let problem = Problem::new(ProblemKind::UnknownSource, "No source `x` has a webhook.");
        let (head, body) = parts(&HttpResponse::problem(&problem, Some("r-1")));
        assert_eq!(head, json!({ "status": 404, "headers": { "content-type": "application/problem+json" } }));
        assert_eq!(
            body,
            json!({
                "type": "urn:millrace:problem:unknown-source",
                "title": "Unknown source",
                "status": 404,
                "detail": "No source `x` has a webhook.",
                "instance": "r-1",
            })
        );
    }

    #[test]
    fn problems_carry_the_headers_that_help_the_sender() {
        let header = |problem: &Problem, name: &str| {
            HttpResponse::problem(problem, None).header(name).map(str::to_owned)
        };
        for kind in ProblemKind::ALL {
            let problem = Problem::new(kind, "d");
            let status = kind.status();
            assert_eq!(header(&problem, "retry-after").is_some(), matches!(status, 429 | 503), "{kind:?}");
            assert_eq!(header(&problem, "allow").is_some(), status == 405, "{kind:?}");
            assert_eq!(header(&problem, "www-authenticate"), None, "{kind:?}");
        }
        let busy = Problem::new(ProblemKind::Unavailable, "d").retry_after(7);
        assert_eq!(header(&busy, "retry-after").as_deref(), Some("7"));
        let bearer = Problem::unauthorized("d", Some(Challenge::Bearer));
        assert_eq!(header(&bearer, "www-authenticate").as_deref(), Some(r#"Bearer realm="webhooks""#));
    }

    #[test]
    fn every_kind_of_problem_has_a_type_of_its_own() {
        let types: std::collections::BTreeSet<_> = ProblemKind::ALL.map(ProblemKind::type_uri).into();
        assert_eq!(types.len(), ProblemKind::ALL.len());
    }
}
