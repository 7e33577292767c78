//! Parses a message of the dead-letter queue: a dead letter of Millrace, or a record that AWS itself sends.
//!
//! Two of those are known, and read as dead letters of kind `upload`: the S3 notification that the upload queue's redrive policy
//! moved here after it was received too often, and the record of an `OnFailure` destination.

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::envelope::{DeadLetter, DeadLetterKind, Origin, Payload, Reason};

/// The content of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly everything is a dead letter")]
pub enum ParsedMessage {
    DeadLetter(DeadLetter),
    /// Neither a dead letter nor a record of AWS that is known here.
    Unreadable,
}

/// Parses a message's body. The id of a dead letter that is made of a record of AWS follows from `message_id` alone, so
/// that every scan of the queue finds the same dead letter. If the record contains no time of its failure, `sent_at` is
/// used.
pub(super) fn parse_body(message_id: &str, body: &str, sent_at: OffsetDateTime) -> ParsedMessage {
    if let Ok(dead_letter) = serde_json::from_str::<DeadLetter>(body) {
        return ParsedMessage::DeadLetter(dead_letter);
    }
    let Ok(body) = serde_json::from_str::<Value>(body) else { return ParsedMessage::Unreadable };
    let read = if is_failure_record(&body) {
        invocation_failed(message_id, &body)
    } else if let Some(object) = notified_object(&body) {
        received_too_often(message_id, &body, object)
    } else {
        return ParsedMessage::Unreadable;
    };
    let (mut dead_letter, failed_at) = read;
    let failed_at = failed_at.and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok()).unwrap_or(sent_at);
    dead_letter.first_failed_at = failed_at.format(&Rfc3339).unwrap_or_default();
    ParsedMessage::DeadLetter(dead_letter)
}

/// The object that a notification of S3 is about.
struct Object {
    bucket: Option<String>,
    /// Decoded.
    key: Option<String>,
    version: Option<String>,
}

/// The object of the first record: S3 sends one record a notification.
fn notified_object(body: &Value) -> Option<Object> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    if body["source"] == "aws.s3" {
        let detail = &body["detail"];
        return Some(Object {
            bucket: text(&detail["bucket"]["name"]),
            key: text(&detail["object"]["key"]),
            version: text(&detail["object"]["version-id"]),
        });
    }
    let record = body["Records"].as_array()?.iter().find(|record| record["eventSource"] == "aws:s3")?;
    let s3 = &record["s3"];
    Some(Object {
        bucket: text(&s3["bucket"]["name"]),
        key: s3["object"]["key"].as_str().and_then(decode_key),
        version: text(&s3["object"]["versionId"]),
    })
}

/// A key as S3's notifications write it: form-urlencoded. EventBridge's are plain. `None` when it is not UTF-8 once decoded.
pub fn decode_key(key: &str) -> Option<String> {
    let spaced = key.replace('+', " ");
    Some(percent_decode_str(&spaced).decode_utf8().ok()?.into_owned())
}

/// When S3 made the notification.
fn notified_at(body: &Value) -> Option<&str> {
    body["Records"][0]["eventTime"].as_str().or_else(|| body["time"].as_str())
}

fn received_too_often<'a>(
    message_id: &str,
    body: &'a Value,
    object: Object,
) -> (DeadLetter, Option<&'a str>) {
    let reason = Reason::new(
        "received_too_often",
        "the notification was delivered to the function too often; its log says what it failed on",
    );
    (upload(message_id, object, reason, json!({ "notification": body })), notified_at(body))
}

fn is_failure_record(body: &Value) -> bool {
    body["requestContext"]["condition"].is_string() && body.get("requestPayload").is_some()
}

fn invocation_failed<'a>(message_id: &str, body: &'a Value) -> (DeadLetter, Option<&'a str>) {
    let condition = body["requestContext"]["condition"].as_str().unwrap_or_default();
    let said = &body["responsePayload"]["errorMessage"];
    let message = match said.as_str().or_else(|| body["responseContext"]["functionError"].as_str()) {
        Some(said) => format!("{condition}: {said}"),
        None => condition.to_owned(),
    };
    let reason = Reason::new("invocation_failed", message);
    let request = &body["requestPayload"];
    let dead_letter = match notified_object(request) {
        Some(object) => upload(message_id, object, reason, json!({ "notification": request })),
        None => {
            let nowhere = Object { bucket: None, key: None, version: None };
            upload(message_id, nowhere, reason, json!({ "request": request }))
        }
    };
    (dead_letter, body["timestamp"].as_str())
}

fn upload(message_id: &str, object: Object, reason: Reason, payload: Value) -> DeadLetter {
    let place = object.key.as_deref().and_then(conventional);
    let origin = Origin {
        bucket: object.bucket.clone(),
        key: object.key.clone(),
        // "null" is the version of an object put while versions were off.
        version: object.version.clone().filter(|version| version != "null"),
        message_id: Some(message_id.to_owned()),
        ..Origin::default()
    };
    DeadLetter::new(
        DeadLetterKind::Upload,
        &format!("message:{message_id}"),
        place.map(|(source, _)| source),
        place.map(|(_, event_type)| event_type),
        reason,
        origin,
        Payload::Json(payload),
    )
}

/// Source and event type of `incoming/<source>/<event_type>/…`.
fn conventional(key: &str) -> Option<(&str, &str)> {
    let mut parts = key.strip_prefix("incoming/")?.splitn(3, '/');
    let (source, event_type, rest) = (parts.next()?, parts.next()?, parts.next()?);
    (!source.is_empty() && !event_type.is_empty() && !rest.is_empty()).then_some((source, event_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = "0a5d8a6c-1c7b-4f0e-9f43-0d4f5d7c2b11";

    fn parse_now(message_id: &str, body: &str) -> ParsedMessage {
        parse_body(message_id, body, OffsetDateTime::now_utc())
    }

    fn dead_letter(body: &Value) -> DeadLetter {
        match parse_now(MESSAGE, &body.to_string()) {
            ParsedMessage::DeadLetter(dead_letter) => dead_letter,
            ParsedMessage::Unreadable => panic!("unreadable: {body}"),
        }
    }

    fn notification(key: &str) -> Value {
        json!({ "Records": [{
            "eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
            "eventTime": "2026-01-02T03:04:05.678Z",
            "s3": { "bucket": { "name": "b" },
                    "object": { "key": key, "size": 3, "versionId": "v1", "sequencer": "0055" } } }] })
    }

    #[test]
    fn a_dead_letter_is_read_as_it_is() {
        let sent = DeadLetter::new(
            DeadLetterKind::Rows,
            "s3://b/k@1",
            Some("shop"),
            None,
            Reason::new("wrong_type", "no number"),
            Origin { line: Some(2), ..Origin::default() },
            Payload::raw(b"a,b"),
        );
        assert_eq!(parse_now(MESSAGE, &sent.to_body()), ParsedMessage::DeadLetter(sent));
    }

    #[test]
    fn a_notification_that_was_received_too_often_is_an_upload() {
        let body = notification("incoming/shop/orders/a+b%2Bc.csv");
        let dead_letter = dead_letter(&body);
        assert_eq!(
            (dead_letter.kind, dead_letter.reason.code.as_str()),
            (DeadLetterKind::Upload, "received_too_often")
        );
        assert_eq!(
            (dead_letter.source.as_deref(), dead_letter.event_type.as_deref()),
            (Some("shop"), Some("orders"))
        );
        let origin = &dead_letter.origin;
        assert_eq!(origin.bucket.as_deref(), Some("b"));
        assert_eq!(origin.key.as_deref(), Some("incoming/shop/orders/a b+c.csv"));
        assert_eq!(origin.version.as_deref(), Some("v1"));
        assert_eq!(origin.message_id.as_deref(), Some(MESSAGE));
        assert_eq!(dead_letter.first_failed_at, "2026-01-02T03:04:05.678Z");
        assert_eq!(dead_letter.payload, Payload::Json(json!({ "notification": body })));
    }

    #[test]
    fn the_same_message_is_the_same_dead_letter_and_another_is_another() {
        let body = notification("k.csv").to_string();
        let id = |message: &str| match parse_now(message, &body) {
            ParsedMessage::DeadLetter(dead_letter) => dead_letter.id,
            ParsedMessage::Unreadable => panic!("unreadable"),
        };
        assert_eq!(id(MESSAGE), id(MESSAGE));
        assert_ne!(id(MESSAGE), id("another"));
    }

    #[test]
    fn a_key_off_the_convention_names_no_source() {
        for key in
            ["a.csv", "incoming/a.csv", "incoming/shop/a.csv", "incoming//orders/a.csv", "incoming/a/b/"]
        {
            let dead_letter = dead_letter(&notification(key));
            assert_eq!((dead_letter.source, dead_letter.event_type), (None, None), "{key}");
        }
    }

    #[test]
    fn an_event_of_eventbridge_is_read_alike_but_its_key_is_plain() {
        let body = json!({
            "source": "aws.s3", "detail-type": "Object Created", "time": "2026-01-02T03:04:05Z",
            "detail": { "bucket": { "name": "b" },
                        "object": { "key": "incoming/a/b/%41+.csv", "version-id": "v2" } } });
        let dead_letter = dead_letter(&body);
        assert_eq!(dead_letter.origin.key.as_deref(), Some("incoming/a/b/%41+.csv"));
        assert_eq!(dead_letter.origin.version.as_deref(), Some("v2"));
        assert_eq!(dead_letter.first_failed_at, "2026-01-02T03:04:05Z");
        assert_eq!(dead_letter.reason.code, "received_too_often");
    }

    /// As the documentation of asynchronous invocation shows it.
    fn failure(request: &Value) -> Value {
        json!({
            "version": "1.0", "timestamp": "2026-01-02T03:04:05.568Z",
            "requestContext": {
                "requestId": "e4b46cbf-b738-4880-8a18-cdf61200e0aa",
                "functionArn": "arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST",
                "condition": "RetriesExhausted", "approximateInvokeCount": 3 },
            "requestPayload": request,
            "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" },
            "responsePayload": { "errorMessage": "out of memory" } })
    }

    #[test]
    fn a_failed_invocation_is_an_upload_with_what_the_function_said() {
        let request = notification("incoming/shop/orders/a.csv");
        let dead_letter = dead_letter(&failure(&request));
        assert_eq!(dead_letter.reason.code, "invocation_failed");
        assert_eq!(dead_letter.reason.message, "RetriesExhausted: out of memory");
        assert_eq!(dead_letter.source.as_deref(), Some("shop"));
        assert_eq!(dead_letter.payload, Payload::Json(json!({ "notification": request })));
        assert_eq!(dead_letter.first_failed_at, "2026-01-02T03:04:05.568Z");
    }

    #[test]
    fn a_failed_invocation_with_any_other_request_keeps_that_request() {
        let mut body = failure(&json!({ "hello": 1 }));
        body["responsePayload"] = Value::Null;
        let dead_letter = dead_letter(&body);
        assert_eq!((dead_letter.kind, dead_letter.source), (DeadLetterKind::Upload, None));
        assert_eq!(dead_letter.reason.message, "RetriesExhausted: Unhandled");
        assert_eq!(dead_letter.payload, Payload::Json(json!({ "request": { "hello": 1 } })));
    }

    #[test]
    fn a_record_without_a_time_failed_when_it_was_sent() {
        let mut body = notification("k.csv");
        body["Records"][0]["eventTime"] = Value::Null;
        let sent_at = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        let ParsedMessage::DeadLetter(dead_letter) = parse_body(MESSAGE, &body.to_string(), sent_at) else {
            panic!("unreadable")
        };
        assert_eq!(dead_letter.first_failed_at, "2023-11-14T22:13:20Z");
    }

    #[test]
    fn anything_else_is_unreadable() {
        for body in [
            "",
            "rubbish",
            "null",
            "[]",
            "{}",
            r#"{"Event": "s3:TestEvent", "Service": "Amazon S3"}"#,
            r#"{"Records": []}"#,
            r#"{"Records": [{"eventSource": "aws:sqs", "body": "{}"}]}"#,
            r#"{"id": "not-a-uuid", "kind": "rows"}"#,
            r#"{"requestPayload": {}, "requestContext": {}}"#,
        ] {
            assert_eq!(parse_now(MESSAGE, body), ParsedMessage::Unreadable, "{body}");
        }
    }
}
