//! Parses a message of the dead-letter queue: a dead letter of Millrace, or a record that AWS itself sends.
//!
//! Two kinds of these records are parsed as dead letters of kind `upload`: S3 notifications that the redrive policy of the upload
//! queue moved after too many receives, and records of an `OnFailure` destination.

use crate::code::Code;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::envelope::{DeadLetter, DeadLetterKind, Origin, Payload, Reason};
use crate::config::{ObjectRoute, Sources};
use crate::notification::NamedObject;

/// The content of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly every message is a dead letter")]
pub enum ParsedMessage {
    DeadLetter(DeadLetter),
    /// Neither a dead letter nor a known record of AWS.
    Unreadable,
}

/// Parses the body of the message `message_id`. The dead letter made of a record of AWS has an id that follows from
/// `message_id` alone, so that every read of the queue finds the same dead letter. `sources` decides which source and event
/// type its file belongs to. A record that has no time of its own failed at `sent_at`.
pub fn parse_body(message_id: &str, body: &str, sent_at: OffsetDateTime, sources: &Sources) -> ParsedMessage {
    if let Ok(dead_letter) = serde_json::from_str::<DeadLetter>(body) {
        return ParsedMessage::DeadLetter(dead_letter);
    }
    let Ok(body) = serde_json::from_str::<Value>(body) else { return ParsedMessage::Unreadable };
    let (reason, object, payload, failed_at) = if is_failure_record(&body) {
        let request = &body["requestPayload"];
        let failed_at = body["timestamp"].as_str().map(str::to_owned);
        match NamedObject::of(request) {
            Some(object) => (failure_reason(&body), object, json!({ "notification": request }), failed_at),
            None => (failure_reason(&body), NamedObject::default(), json!({ "request": request }), failed_at),
        }
    } else if let Some(object) = NamedObject::of(&body) {
        let reason = Reason::new(
            Code::ReceivedTooOften,
            "the function failed on the notification too often; its log has the error",
        );
        let failed_at = object.notified_at.clone();
        (reason, object, json!({ "notification": body }), failed_at)
    } else {
        return ParsedMessage::Unreadable;
    };
    let mut dead_letter = upload(message_id, object, reason, payload, sources);
    let failed_at = failed_at.and_then(|text| OffsetDateTime::parse(&text, &Rfc3339).ok()).unwrap_or(sent_at);
    dead_letter.first_failed_at = failed_at.format(&Rfc3339).unwrap_or_default();
    ParsedMessage::DeadLetter(dead_letter)
}

/// Whether `body` is the record that Lambda sends to an `OnFailure` destination.
fn is_failure_record(body: &Value) -> bool {
    body["requestContext"]["condition"].is_string() && body.get("requestPayload").is_some()
}

fn failure_reason(body: &Value) -> Reason {
    let condition = body["requestContext"]["condition"].as_str().unwrap_or_default();
    let error = &body["responsePayload"]["errorMessage"];
    let message = match error.as_str().or_else(|| body["responseContext"]["functionError"].as_str()) {
        Some(error) => format!("{condition}: {error}"),
        None => condition.to_owned(),
    };
    Reason::new(Code::InvocationFailed, message)
}

fn upload(
    message_id: &str,
    object: NamedObject,
    reason: Reason,
    payload: Value,
    sources: &Sources,
) -> DeadLetter {
    let route = match object.key.as_deref().map(|key| sources.route(key)) {
        Some(ObjectRoute::Csv(route)) => Some(route),
        _ => None,
    };
    let origin = Origin {
        bucket: object.bucket,
        key: object.key,
        // "null" is the version id of an object that was uploaded without versioning.
        version: object.version_id.filter(|version| version != "null"),
        message_id: Some(message_id.to_owned()),
        ..Origin::default()
    };
    DeadLetter::new(
        DeadLetterKind::Upload,
        &format!("message:{message_id}"),
        route.as_ref().map(|route| &*route.source),
        route.as_ref().map(|route| &*route.event_type),
        reason,
        origin,
        Payload::Json(payload),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = "0a5d8a6c-1c7b-4f0e-9f43-0d4f5d7c2b11";

    fn parse(message_id: &str, body: &str) -> ParsedMessage {
        parse_body(message_id, body, OffsetDateTime::now_utc(), &Sources::default())
    }

    fn dead_letter(body: &Value) -> DeadLetter {
        match parse(MESSAGE, &body.to_string()) {
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
            Reason::new(Code::WrongType, "no number"),
            Origin { line: Some(2), ..Origin::default() },
            Payload::raw(b"a,b"),
        );
        assert_eq!(parse(MESSAGE, &sent.to_body()), ParsedMessage::DeadLetter(sent));
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
        let id = |message: &str| match parse(message, &body) {
            ParsedMessage::DeadLetter(dead_letter) => dead_letter.id,
            ParsedMessage::Unreadable => panic!("unreadable"),
        };
        assert_eq!(id(MESSAGE), id(MESSAGE));
        assert_ne!(id(MESSAGE), id("another"));
    }

    #[test]
    fn a_key_off_the_convention_names_no_source() {
        for key in ["a.csv", "incoming/a.csv", "incoming/shop/a.csv", "incoming//orders/a.csv"] {
            let dead_letter = dead_letter(&notification(key));
            assert_eq!((dead_letter.source, dead_letter.event_type), (None, None), "{key}");
        }
    }

    #[test]
    fn a_declared_path_goes_before_the_convention() {
        let sources = "[erp.csv]\npath = 'incoming/exports/daily/orders-*.csv'\nevent_type = 'orders'\n";
        let sources = Sources::parse("sources.toml", sources).unwrap();
        let body = notification("incoming/exports/daily/orders-7.csv");
        for body in [body.to_string(), failure(&body).to_string()] {
            let ParsedMessage::DeadLetter(dead_letter) =
                parse_body(MESSAGE, &body, OffsetDateTime::now_utc(), &sources)
            else {
                panic!("unreadable")
            };
            let place = (dead_letter.source.as_deref(), dead_letter.event_type.as_deref());
            assert_eq!(place, (Some("erp"), Some("orders")));
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
        let body = body.to_string();
        let ParsedMessage::DeadLetter(dead_letter) = parse_body(MESSAGE, &body, sent_at, &Sources::default())
        else {
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
            assert_eq!(parse(MESSAGE, body), ParsedMessage::Unreadable, "{body}");
        }
    }
}
