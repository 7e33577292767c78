//! What API Gateway or a function URL hands over, as one request.
//!
//! Three shapes, told apart by what is in them: HTTP APIs and function URLs send payload format 2.0, REST APIs (and HTTP
//! APIs, when told so) format 1.0.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use millrace::dead_letter::DeadLetter;
use millrace::{Code, Error, Kind};
use percent_encoding::percent_decode_str;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::problem::{Problem, ProblemKind};

/// The limit on a body: an invocation, with the request around the body, holds less than 6 MiB.
pub const MAX_BODY_BYTES: usize = (6 << 20) - 1;

/// The event as it comes: the fields of both formats that are needed, each of which may be null.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpEvent {
    /// 2.0
    raw_path: Option<String>,
    /// 1.0
    path: Option<String>,
    /// 1.0
    http_method: Option<String>,
    headers: Option<BTreeMap<String, Option<String>>>,
    /// 1.0
    multi_value_headers: Option<BTreeMap<String, Option<Vec<String>>>>,
    request_context: Option<RequestContext>,
    body: Option<String>,
    is_base64_encoded: Option<bool>,
    /// No gateway sends this: the event is from redrive, which may invoke the function.
    redrive: Option<Vec<DeadLetter>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RequestContext {
    request_id: Option<String>,
    /// 2.0
    http: Option<HttpContext>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct HttpContext {
    method: Option<String>,
}

impl fmt::Debug for HttpEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Everything else may hold secrets.
        f.debug_struct("HttpEvent").finish_non_exhaustive()
    }
}

/// A delivery, not yet verified.
pub struct Request {
    /// The last part of the path: `/webhooks/{source}`.
    pub source: String,
    pub headers: HeaderMap,
    /// As it was sent: the bytes that are signed.
    pub body: Bytes,
    /// The gateway's.
    pub request_id: Option<String>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Body, headers and query hold secrets and personal data.
        f.debug_struct("Request")
            .field("source", &self.source)
            .field("body_bytes", &self.body.len())
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}

/// Why there is no request.
#[derive(Debug)]
pub enum RequestRefusal {
    /// The event is not of a gateway: whoever invoked the function must change, and nobody waits for an HTTP answer.
    NotARequest(Error),
    /// The sender gets this for an answer.
    Problem { problem: Problem, request_id: Option<String> },
}

/// An [`HttpEvent`] whose parse error contains no values of the event, because the runtime logs the error.
pub struct EventPayload(pub HttpEvent);

impl<'de> Deserialize<'de> for EventPayload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // serde's own message would repeat values.
        let refused =
            |_| D::Error::custom("the event is not an HTTP request of API Gateway or a function URL");
        HttpEvent::deserialize(deserializer).map(EventPayload).map_err(refused)
    }
}

impl HttpEvent {
    /// The dead letters of the event, when it is a redrive request and not an HTTP request.
    pub fn take_dead_letters(&mut self) -> Option<Vec<DeadLetter>> {
        self.redrive.take()
    }
}

impl Request {
    /// `max_body_bytes` counts the body itself, decoded.
    pub fn from_event(event: HttpEvent, max_body_bytes: usize) -> Result<Request, RequestRefusal> {
        let HttpEvent { headers, multi_value_headers, body, is_base64_encoded, .. } = event;
        let context = event.request_context.unwrap_or_default();
        let http = context.http.unwrap_or_default();
        let (method, path) = match (http.method, event.raw_path, event.http_method, event.path) {
            (Some(method), Some(path), ..) | (_, _, Some(method), Some(path)) => (method, path),
            _ => {
                let reason =
                    "has neither `requestContext.http.method` and `rawPath` nor `httpMethod` and `path`";
                return Err(RequestRefusal::NotARequest(not_a_request(reason)));
            }
        };
        let request_id = context.request_id;
        let read = || -> Result<(String, Bytes), Problem> {
            let source = source_of(&path)
                .ok_or_else(|| Problem::new(ProblemKind::UnknownPath, "Post to /webhooks/{source}."))?;
            if method != "POST" {
                let detail = "This path accepts only the method POST.";
                return Err(Problem::new(ProblemKind::MethodNotAllowed, detail));
            }
            Ok((source, decode_body(body, is_base64_encoded.unwrap_or(false), max_body_bytes)?))
        };
        match read() {
            Ok((source, body)) => Ok(Request {
                source,
                headers: header_map(flatten(multi_value_headers, headers)),
                body,
                request_id,
            }),
            Err(problem) => Err(RequestRefusal::Problem { problem, request_id }),
        }
    }
}

fn not_a_request(reason: impl fmt::Display) -> Error {
    let message = format!("the event is not an HTTP request of API Gateway or a function URL: it {reason}");
    Error::new(Kind::Contract, message).with_code(Code::NotAnHttpRequest)
}

/// `/webhooks/{source}`, with at most one part before it (a stage, or the base path of a custom domain) and at most one
/// slash after it.
fn source_of(path: &str) -> Option<String> {
    let path = path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    let parts: Vec<&str> = path.split('/').collect();
    let source = match parts[..] {
        ["webhooks", source] => source,
        [prefix, "webhooks", source] if !prefix.is_empty() => source,
        _ => return None,
    };
    let source = percent_decode_str(source).decode_utf8().ok()?;
    (!source.is_empty()).then(|| source.into_owned())
}

fn decode_body(body: Option<String>, base64: bool, max_bytes: usize) -> Result<Bytes, Problem> {
    let body = body.unwrap_or_default();
    let too_large = |bytes: usize| {
        (bytes > max_bytes).then(|| {
            let detail = format!("The body is larger than {max_bytes} bytes.");
            Problem::new(ProblemKind::BodyTooLarge, detail)
        })
    };
    if !base64 {
        return too_large(body.len()).map_or_else(|| Ok(Bytes::from(body)), Err);
    }
    // Too large is known before room is made for it: four characters are three bytes, but for the padding.
    if let Some(problem) = too_large((body.len() / 4 * 3).saturating_sub(2)) {
        return Err(problem);
    }
    let bytes = STANDARD.decode(&body).map_err(|_| {
        let detail = "The gateway marked the body as base64, but it is not valid base64.";
        Problem::new(ProblemKind::InvalidBase64, detail)
    })?;
    too_large(bytes.len()).map_or_else(|| Ok(Bytes::from(bytes)), Err)
}

/// Names with each of their values; `many` knows more than `single`, which has one value a name.
fn flatten(
    many: Option<BTreeMap<String, Option<Vec<String>>>>,
    single: Option<BTreeMap<String, Option<String>>>,
) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut many = many.unwrap_or_default();
    many.retain(|_, values| values.as_ref().is_some_and(|values| !values.is_empty()));
    for (name, value) in single.unwrap_or_default() {
        if let (Some(value), false) = (value, many.contains_key(&name)) {
            pairs.push((name, value));
        }
    }
    for (name, values) in many {
        pairs.extend(values.into_iter().flatten().map(|value| (name.clone(), value)));
    }
    pairs
}

/// What no HTTP message can have is left out, and so is what comes after more headers than any gateway lets through.
fn header_map(pairs: Vec<(String, String)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_maybe_shared(Bytes::from(value)))
            && headers.try_append(name, value).is_err()
        {
            break;
        }
    }
    headers
}

#[cfg(test)]
mod tests;
