//! CloudEvents 1.0 over HTTP: structured, batched, and binary mode.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use millrace_jsonb::{Scanner, write_string};
use percent_encoding::percent_decode;

use super::collect::Collector;
use super::error::BodyError;
use super::json::not_json;
use super::kind::media_type;

/// The attributes that every event must have.
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];

pub(super) fn check_structured(body: &[u8], start: usize) -> Result<(), BodyError> {
    match Scanner::starting_at(body, start).peek() {
        Some(b'{') => Ok(()),
        _ => Err(BodyError::malformed("A CloudEvent is a JSON object.")),
    }
}

pub(super) fn check_batch(body: &[u8], start: usize) -> Result<(), BodyError> {
    let refused = || BodyError::malformed("A batch of CloudEvents is a JSON array of objects.");
    let mut scanner = Scanner::starting_at(body, start);
    if !scanner.enter_array() {
        return Err(refused());
    }
    let mut first = true;
    while scanner.has_element(first).map_err(not_json)? {
        first = false;
        if scanner.peek() != Some(b'{') {
            return Err(refused());
        }
        scanner.value().map_err(not_json)?;
    }
    Ok(())
}

/// The record is the event in structured form: attributes from the headers, `data` from the body.
///
/// # Errors
/// A required attribute is missing, or the body is not JSON although its type is.
pub(super) fn read_binary<'b>(
    collector: &mut Collector<'b>,
    headers: &HeaderMap,
) -> Result<Cow<'b, [u8]>, BodyError> {
    if let Some(missing) = REQUIRED.iter().find(|name| !headers.contains_key(format!("ce-{name}"))) {
        return Err(BodyError::malformed(format!(
            "A CloudEvent in binary mode has the header ce-{missing}."
        )));
    }
    let body = collector.body();
    let mut json = Vec::with_capacity(body.len() + 512);
    json.push(b'{');
    for name in headers.keys() {
        // `data` is not an attribute, and Content-Type is the body's type.
        let attribute = match name.as_str().strip_prefix("ce-") {
            Some("" | "data" | "data_base64" | "datacontenttype") | None => continue,
            Some(attribute) => attribute,
        };
        let Some(value) = headers.get(name) else { continue };
        member(&mut json, attribute);
        write_string(&mut json, &decode(value.as_bytes()));
    }
    let media_type = media_type(headers);
    if let Some(content_type) = headers.get(http::header::CONTENT_TYPE) {
        member(&mut json, "datacontenttype");
        write_string(&mut json, content_type.as_bytes());
    }
    if !body.is_empty() {
        write_data(&mut json, media_type.as_deref(), body)?;
    }
    json.push(b'}');
    collector.add_built(json.clone(), Cow::Borrowed(body));
    Ok(Cow::Owned(json))
}

fn write_data(json: &mut Vec<u8>, media_type: Option<&str>, body: &[u8]) -> Result<(), BodyError> {
    let is_json = media_type
        .is_none_or(|kind| matches!(kind, "application/json" | "text/json") || kind.ends_with("+json"));
    if is_json {
        let mut scanner = Scanner::new(body);
        scanner.value().and_then(|_| scanner.end()).map_err(not_json)?;
        member(json, "data");
        json.extend_from_slice(body);
    } else if media_type.is_some_and(|kind| kind.starts_with("text/")) && std::str::from_utf8(body).is_ok() {
        member(json, "data");
        write_string(json, body);
    } else {
        member(json, "data_base64");
        write_string(json, STANDARD.encode(body).as_bytes());
    }
    Ok(())
}

fn member(json: &mut Vec<u8>, name: &str) {
    if json.len() > 1 {
        json.push(b',');
    }
    write_string(json, name.as_bytes());
    json.push(b':');
}

/// Decodes an attribute's value: it is percent-encoded in a header, and older senders put quotes around it.
fn decode(value: &[u8]) -> Cow<'_, [u8]> {
    let value = value.trim_ascii();
    let value = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value);
    percent_decode(value).into()
}
