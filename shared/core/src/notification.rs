//! S3 notifications: direct, inside SQS messages, or from EventBridge. This module reads and writes the format; no other does.
//!
//! Only the fields that are used are read, so that added or missing fields break nothing. In S3 notifications a key is
//! form-urlencoded (`+` is a space). In EventBridge events it is not encoded.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::origin::VersionedObject;

/// One object that was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectCreated {
    pub bucket: String,
    /// Decoded.
    pub key: String,
    /// `None` for a bucket without versioning.
    pub version_id: Option<String>,
    /// Orders the events of one key. Hexadecimal; the shorter of two is padded with zeros on the left before they are
    /// compared.
    pub sequencer: Option<String>,
    /// Set for a file whose dead letter is redriven.
    pub redrive: Option<UploadRedrive>,
    /// The original notification, for a continuation or a dead letter.
    pub body: Value,
}

/// What redrive adds to a notification under [`REDRIVE_KEY`], so that a file that was attempted before is read again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadRedrive {
    /// The number of the attempt at the file: 2 or more.
    pub attempt: u32,
    /// RFC 3339. If the file fails again, its new dead letter has this time as its first failure.
    pub first_failed_at: String,
}

/// The key of [`UploadRedrive`] in a notification.
const REDRIVE_KEY: &str = "millrace";

/// `notification` with the number of the next attempt at its file.
pub fn with_redrive(notification: &Value, redrive: &UploadRedrive) -> Value {
    let mut body = notification.clone();
    body[REDRIVE_KEY] = json!(redrive);
    body
}

/// The characters of a key that S3 does not encode in a notification.
const KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'*');

/// The notification of a version that was found in the bucket. It has no sequencer, so that loads compare the time of the
/// upload.
pub fn object_created(found: &VersionedObject, size: i64, etag: &str) -> Value {
    let mut object = json!({
        "key": utf8_percent_encode(&found.key, KEY).to_string(),
        "size": size,
        "eTag": etag.trim_matches('"'),
    });
    if let Some(version) = found.version_id() {
        object["versionId"] = json!(version);
    }
    json!({ "Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": { "s3SchemaVersion": "1.0", "bucket": { "name": found.bucket }, "object": object },
    }] })
}

/// The object that a failed notification names. Unlike in [`ObjectCreated`] any field can be missing, because a dead letter
/// is listed whatever it contains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamedObject {
    pub bucket: Option<String>,
    /// Decoded.
    pub key: Option<String>,
    pub version_id: Option<String>,
    /// RFC 3339: when S3 sent the notification.
    pub notified_at: Option<String>,
}

impl NamedObject {
    /// The object of the first record, because S3 sends one record in a notification. `None` when `body` is not a
    /// notification of S3.
    pub fn of(body: &Value) -> Option<NamedObject> {
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        if body["source"] == BRIDGE_SOURCE {
            let detail = &body["detail"];
            return Some(NamedObject {
                bucket: text(&detail["bucket"]["name"]),
                key: text(&detail["object"]["key"]),
                version_id: text(&detail["object"]["version-id"]),
                notified_at: text(&body["time"]),
            });
        }
        let record = body["Records"].as_array()?.iter().find(|record| record["eventSource"] == "aws:s3")?;
        let s3 = &record["s3"];
        Some(NamedObject {
            bucket: text(&s3["bucket"]["name"]),
            key: s3["object"]["key"].as_str().and_then(decode_key),
            version_id: text(&s3["object"]["versionId"]),
            notified_at: text(&record["eventTime"]),
        })
    }
}

const BRIDGE_SOURCE: &str = "aws.s3";
/// The detail type of <https://docs.aws.amazon.com/AmazonS3/latest/userguide/EventBridge.html>.
const BRIDGE_CREATED: &str = "Object Created";

/// A key as S3 writes it in a notification, form-urlencoded. `None` when it is not UTF-8 once decoded.
fn decode_key(key: &str) -> Option<String> {
    let spaced = key.replace('+', " ");
    Some(percent_decode_str(&spaced).decode_utf8().ok()?.into_owned())
}

impl ObjectCreated {
    /// Starts at 1 and grows by one each time the file's dead letter is redriven.
    pub fn attempt(&self) -> u32 {
        self.redrive.as_ref().map_or(1, |redrive| redrive.attempt)
    }
}

/// The content of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum S3Event {
    ObjectCreated(Vec<ObjectCreated>),
    /// A test event, a deletion or a folder placeholder: there is nothing to load.
    Nothing,
    /// Not a notification. Holds the reason.
    Unreadable(String),
}

/// The event of an invocation, by how the function was invoked.
#[derive(Debug)]
pub enum UploadEvent {
    /// By SQS: each message succeeds or fails alone.
    Queue(Vec<UploadMessage>),
    /// By S3, EventBridge or a person: the invocation succeeds or fails as a whole.
    Direct(S3Event),
}

#[derive(Debug)]
pub struct UploadMessage {
    pub id: String,
    pub body: String,
    /// By which the message's visibility is changed.
    pub receipt_handle: Option<String>,
    /// How often the queue has delivered the message, this time included.
    pub receive_count: u32,
}

impl UploadMessage {
    pub fn s3_event(&self) -> S3Event {
        match serde_json::from_str(&self.body) {
            Ok(body) => read_s3_event(&body),
            Err(error) => {
                S3Event::Unreadable(format!("not JSON: line {} column {}", error.line(), error.column()))
            }
        }
    }
}

/// Detects how the function was invoked and reads the messages. It never fails: an unreadable message is data.
pub fn read_upload_event(event: &Value) -> UploadEvent {
    let records = event.get("Records").and_then(Value::as_array);
    let from_queue = records.is_some_and(|records| {
        records.iter().any(|record| record.get("eventSource").and_then(Value::as_str) == Some("aws:sqs"))
    });
    match records {
        Some(records) if from_queue => UploadEvent::Queue(
            records
                .iter()
                .map(|record| UploadMessage {
                    id: record["messageId"].as_str().unwrap_or_default().to_owned(),
                    body: record["body"].as_str().unwrap_or_default().to_owned(),
                    receipt_handle: record["receiptHandle"].as_str().map(str::to_owned),
                    receive_count: record["attributes"]["ApproximateReceiveCount"]
                        .as_str()
                        .and_then(|count| count.parse().ok())
                        .unwrap_or(1),
                })
                .collect(),
        ),
        _ => UploadEvent::Direct(read_s3_event(event)),
    }
}

#[derive(Deserialize)]
struct S3Record {
    #[serde(rename = "eventName", default)]
    event_name: String,
    s3: S3Entity,
}

#[derive(Deserialize)]
struct S3Entity {
    bucket: S3Bucket,
    object: S3Object,
}

#[derive(Deserialize)]
struct S3Bucket {
    name: String,
}

#[derive(Deserialize)]
struct S3Object {
    key: String,
    #[serde(rename = "versionId", alias = "version-id", default)]
    version_id: Option<String>,
    #[serde(default)]
    sequencer: Option<String>,
}

#[derive(Deserialize)]
struct BridgeDetail {
    bucket: S3Bucket,
    object: S3Object,
}

fn read_s3_event(body: &Value) -> S3Event {
    if body.get("Event").and_then(Value::as_str) == Some("s3:TestEvent") {
        return S3Event::Nothing;
    }
    if body["source"] == BRIDGE_SOURCE {
        return read_bridge_event(body);
    }
    let redrive = match read_redrive(body) {
        Ok(redrive) => redrive,
        Err(why) => return S3Event::Unreadable(why),
    };
    let Some(records) = body.get("Records").and_then(Value::as_array) else {
        return S3Event::Unreadable("neither an S3 notification nor an EventBridge event of S3".to_owned());
    };
    let mut created = Vec::new();
    for record in records {
        let parsed = match S3Record::deserialize(record) {
            Ok(parsed) => parsed,
            Err(error) => return S3Event::Unreadable(format!("a record of the notification: {error}")),
        };
        // An event name is `s3:ObjectCreated:*` in a bucket configuration and `ObjectCreated:Put` in a notification.
        if !parsed.event_name.trim_start_matches("s3:").starts_with("ObjectCreated:") {
            continue;
        }
        let Some(key) = decode_key(&parsed.s3.object.key) else {
            return S3Event::Unreadable("the key is not UTF-8 once decoded".to_owned());
        };
        let mut of_record = json!({ "Records": [record] });
        if let Some(redrive) = body.get(REDRIVE_KEY) {
            of_record[REDRIVE_KEY] = redrive.clone();
        }
        created.extend(to_object_created(
            parsed.s3.bucket,
            parsed.s3.object,
            key,
            redrive.clone(),
            of_record,
        ));
    }
    if created.is_empty() { S3Event::Nothing } else { S3Event::ObjectCreated(created) }
}

fn read_redrive(body: &Value) -> Result<Option<UploadRedrive>, String> {
    match body.get(REDRIVE_KEY) {
        None => Ok(None),
        Some(redrive) => UploadRedrive::deserialize(redrive)
            .map(Some)
            .map_err(|error| format!("what redrive added: {error}")),
    }
}

fn read_bridge_event(body: &Value) -> S3Event {
    if body["detail-type"] != BRIDGE_CREATED {
        return S3Event::Nothing;
    }
    let redrive = match read_redrive(body) {
        Ok(redrive) => redrive,
        Err(why) => return S3Event::Unreadable(why),
    };
    match BridgeDetail::deserialize(body.get("detail").unwrap_or(&Value::Null)) {
        Ok(detail) => {
            let key = detail.object.key.clone();
            match to_object_created(detail.bucket, detail.object, key, redrive, body.clone()) {
                Some(created) => S3Event::ObjectCreated(vec![created]),
                None => S3Event::Nothing,
            }
        }
        Err(error) => S3Event::Unreadable(format!("the event's detail: {error}")),
    }
}

fn to_object_created(
    bucket: S3Bucket,
    object: S3Object,
    key: String,
    redrive: Option<UploadRedrive>,
    body: Value,
) -> Option<ObjectCreated> {
    // S3 consoles create an empty object for a folder.
    if key.ends_with('/') {
        return None;
    }
    Some(ObjectCreated {
        bucket: bucket.name,
        key,
        // "null" is the version of an object that was put while versioning was off.
        version_id: object.version_id.filter(|version| !version.is_empty() && version != "null"),
        sequencer: object.sequencer.filter(|sequencer| !sequencer.is_empty()),
        redrive,
        body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3_record(key: &str) -> Value {
        json!({
            "eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
            "s3": { "bucket": { "name": "b" },
                    "object": { "key": key, "size": 3, "eTag": "e", "versionId": "v1", "sequencer": "0055" } }
        })
    }

    fn created(s3_event: S3Event) -> Vec<ObjectCreated> {
        match s3_event {
            S3Event::ObjectCreated(created) => created,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_of_s3_are_form_decoded_and_keys_of_eventbridge_are_not() {
        let from_s3 =
            created(read_s3_event(&json!({ "Records": [s3_record("incoming/a+b%2Bc/%C3%BC.csv")] })));
        assert_eq!(from_s3[0].key, "incoming/a b+c/ü.csv");
        assert_eq!(from_s3[0].version_id.as_deref(), Some("v1"));
        let bridge = json!({
            "source": "aws.s3", "detail-type": "Object Created",
            "detail": { "bucket": { "name": "b" },
                        "object": { "key": "incoming/a+b/%41.csv", "version-id": "v2", "sequencer": "01" } }
        });
        let from_bridge = created(read_s3_event(&bridge));
        assert_eq!(from_bridge[0].key, "incoming/a+b/%41.csv");
        assert_eq!(from_bridge[0].version_id.as_deref(), Some("v2"));
    }

    /// The event of the AWS documentation, as `sam local generate-event` writes it.
    #[test]
    fn the_sample_event_of_eventbridge_names_its_object() {
        let sample = include_str!("../../../infra/events/eventbridge.json");
        let event: Value = serde_json::from_str(sample).unwrap();
        let object = &event["detail"]["object"];
        let UploadEvent::Direct(s3_event) = read_upload_event(&event) else { panic!("not direct") };
        let created = created(s3_event);
        assert_eq!(created.len(), 1);
        assert_eq!(created[0].key, object["key"].as_str().unwrap());
        let named = NamedObject::of(&event).unwrap();
        assert_eq!(named.key.as_deref(), object["key"].as_str());
        assert_eq!(named.notified_at.as_deref(), event["time"].as_str());
    }

    #[test]
    fn a_queue_is_told_from_a_bare_notification() {
        let body = json!({ "Records": [s3_record("k.csv")] }).to_string();
        let event = json!({ "Records": [{ "eventSource": "aws:sqs", "messageId": "m1", "body": body },
                                        { "eventSource": "aws:sqs", "messageId": "m2", "body": "rubbish" }] });
        let UploadEvent::Queue(messages) = read_upload_event(&event) else { panic!("not a queue") };
        assert_eq!(created(messages[0].s3_event())[0].key, "k.csv");
        assert!(matches!(messages[1].s3_event(), S3Event::Unreadable(_)));
        let bare = json!({ "Records": [s3_record("k.csv"), s3_record("l.csv")] });
        let UploadEvent::Direct(s3_event) = read_upload_event(&bare) else { panic!("not direct") };
        assert_eq!(created(s3_event).len(), 2);
    }

    #[test]
    fn a_redriven_file_names_its_attempt() {
        let redrive = json!({ "attempt": 3, "first_failed_at": "2026-11-01T00:00:00Z" });
        let body = json!({ "Records": [s3_record("k.csv")], "millrace": redrive });
        let from_s3 = created(read_s3_event(&body));
        assert_eq!(from_s3[0].attempt(), 3);
        // A continuation keeps it.
        assert_eq!(created(read_s3_event(&from_s3[0].body)), from_s3);
        let bridge = json!({
            "source": "aws.s3", "detail-type": "Object Created",
            "detail": { "bucket": { "name": "b" }, "object": { "key": "k" } },
            "millrace": redrive,
        });
        assert_eq!(created(read_s3_event(&bridge))[0].attempt(), 3);
        assert_eq!(created(read_s3_event(&json!({ "Records": [s3_record("k.csv")] })))[0].attempt(), 1);
        let wrong = json!({ "Records": [s3_record("k.csv")], "millrace": { "attempt": "two" } });
        assert!(matches!(read_s3_event(&wrong), S3Event::Unreadable(_)));
    }

    #[test]
    fn what_holds_nothing_to_load_is_no_error() {
        for body in [
            json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b" }),
            json!({ "Records": [] }),
            json!({ "Records": [s3_record("incoming/folder/")] }),
            json!({ "Records": [{ "eventName": "ObjectRemoved:Delete",
                                  "s3": { "bucket": { "name": "b" }, "object": { "key": "k" } } }] }),
        ] {
            assert_eq!(read_s3_event(&body), S3Event::Nothing, "{body}");
        }
    }

    #[test]
    fn what_is_no_notification_says_so() {
        for body in [json!(null), json!([]), json!({ "hello": 1 }), json!({ "Records": [{ "s3": 1 }] })] {
            assert!(matches!(read_s3_event(&body), S3Event::Unreadable(_)), "{body}");
        }
    }
}
