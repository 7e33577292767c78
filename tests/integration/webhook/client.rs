//! A running function, and the requests that it is sent.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use millrace_tests::runtime_api::{Function, Outcome};
use serde_json::{Map, Value, json};

use super::description;
use super::fixture::signed;

/// The time of an invocation, as in the template.
pub const TIME: Duration = Duration::from_secs(29);
/// The gateway's id for every request.
pub const REQUEST_ID: &str = "JKJaXmPLvHcESHA=";

/// How a gateway encodes a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Plain,
    Base64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    /// JSON, or a string when the body is not JSON.
    pub body: Value,
}

impl Reply {
    pub fn became(&self) -> &str {
        self.body["status"].as_str().unwrap_or("nothing")
    }

    /// The ids of the events of a stored delivery.
    pub fn event_ids(&self) -> Vec<i64> {
        assert_eq!((self.status, self.became()), (202, "stored"), "{self:?}");
        let ids = self.body["event_ids"].as_array().expect("event_ids");
        ids.iter().map(|id| id.as_i64().expect("a number")).collect()
    }

    pub fn was(&self, status: u16, became: &str) {
        assert_eq!((self.status, self.became()), (status, became), "{self:?}");
    }

    /// A problem with this status and type.
    pub fn is_problem(&self, status: u16, kind: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["type"], format!("urn:millrace:problem:{kind}"), "{self:?}");
        assert_eq!((&self.body["status"], &self.body["instance"]), (&json!(status), &json!(REQUEST_ID)));
    }
}

pub struct WebhookClient {
    pub function: Function,
}

impl WebhookClient {
    pub fn new(function: Function) -> WebhookClient {
        WebhookClient { function }
    }

    /// Posts a delivery as an HTTP API sends it.
    pub async fn post(&self, source: &str, headers: &HeaderMap, body: &[u8], form: Form) -> Reply {
        self.send(&request("POST", &format!("/webhooks/{source}"), headers, body, form), TIME).await
    }

    /// Signs a JSON text as the sender of `source` does, and posts it.
    pub async fn deliver(&self, source: &str, id: &str, body: &str) -> Reply {
        self.post(source, &signed(source, id, body.as_bytes()), body.as_bytes(), Form::Plain).await
    }

    /// Invokes the function with `time` until its deadline, and waits no longer than that.
    pub async fn send(&self, event: &Value, time: Duration) -> Reply {
        self.try_send(event, time).await.expect("the function runs")
    }

    /// `None` when the process ended before it responded.
    pub async fn try_send(&self, event: &Value, time: Duration) -> Option<Reply> {
        let outcome = tokio::time::timeout(time, self.function.invoke(event, time)).await;
        let answer = match outcome.expect("an answer before the deadline") {
            Outcome::Crashed => return None,
            outcome => outcome.response(),
        };
        let status = answer["statusCode"].as_u64().and_then(|status| u16::try_from(status).ok());
        let text = answer["body"].as_str().expect("a body");
        assert_eq!(answer["isBase64Encoded"], false);
        let reply = Reply {
            status: status.expect("a status"),
            headers: serde_json::from_value(answer["headers"].clone()).expect("headers of one value each"),
            body: serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        };
        // In every test, each response must be one that is documented.
        description::check(&reply);
        Some(reply)
    }
}

/// A request in payload format 2.0.
pub fn request(method: &str, path: &str, headers: &HeaderMap, body: &[u8], form: Form) -> Value {
    request_with(method, path, &to_map(headers), body, form)
}

/// The same, with headers that HTTP itself may not allow.
pub fn request_with(
    method: &str,
    path: &str,
    headers: &Map<String, Value>,
    body: &[u8],
    form: Form,
) -> Value {
    json!({
        "version": "2.0",
        "routeKey": "POST /webhooks/{source}",
        "rawPath": path,
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {
            "apiId": "api",
            "requestId": REQUEST_ID,
            "http": { "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1" },
        },
        "body": encode(body, form),
        "isBase64Encoded": form == Form::Base64,
    })
}

pub fn encode(body: &[u8], form: Form) -> String {
    match form {
        Form::Plain => String::from_utf8(body.to_vec()).expect("text"),
        Form::Base64 => STANDARD.encode(body),
    }
}

pub fn to_map(headers: &HeaderMap) -> Map<String, Value> {
    let pair = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), value.to_str().expect("a header's value").into())
    };
    headers.iter().map(pair).collect()
}
