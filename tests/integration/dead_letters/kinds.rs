//! Dead letters of every kind, printed in full, and the messages that AWS itself sends to the queue.

use millrace::Code;
use millrace::dead_letter::{DeadLetter, DeadLetterKind, Origin, Payload, Reason};
use millrace_tests::terminal::unwrapped;
use serde_json::{Value, json};

use super::fixture::{DeadLetterFixture, page_ids, rows_dead_letter, said};

fn notification(bucket: &str) -> Value {
    json!({ "Records": [{
        "eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
        "eventTime": "2026-01-02T03:04:05.678Z",
        "s3": { "bucket": { "name": bucket },
                "object": { "key": "incoming/shop/orders/a+b.csv", "versionId": "v1", "sequencer": "0055" } } }] })
}

#[tokio::test]
async fn messages_from_aws_are_dead_letters_of_kind_upload() {
    let fixture = DeadLetterFixture::new().await;
    fixture.send_body(&notification("canary-bucket").to_string()).await;
    let failure = json!({
        "version": "1.0", "timestamp": "2026-01-02T03:04:06Z",
        "requestContext": { "requestId": "1", "condition": "RetriesExhausted", "approximateInvokeCount": 3 },
        "requestPayload": { "canary": 1 },
        "responseContext": { "statusCode": 200, "functionError": "Unhandled" },
        "responsePayload": { "errorMessage": "out of memory" } });
    fixture.send_body(&failure.to_string()).await;
    let rubbish = fixture.send_body("rub\u{9b}31mbish").await;

    // The schema is valid for these as well.
    let list = fixture.json(&["list", "--json", "--kind", "upload"]).await;
    assert_eq!(list["matching"], 2);
    let codes: Vec<&str> = list["dead_letters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["reason"]["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["invocation_failed", "received_too_often"], "newest first");
    let ids = page_ids(&list);
    let shown = fixture.said(&["show", &ids[1].to_string()]).await;
    for words in [
        "upload",
        "shop",
        "orders",
        "received_too_often",
        "s3://canary-bucket/incoming/shop/orders/a b.csv",
        "2026-01-02T03:04:05.678Z",
        "\"sequencer\": \"0055\"",
        "fix it and redrive",
    ] {
        assert!(shown.contains(words) || unwrapped(&shown).contains(words), "{words}: {shown}");
    }
    let shown = fixture.said(&["show", &ids[0].to_string()]).await;
    assert!(shown.contains("RetriesExhausted: out of memory") && shown.contains("\"canary\": 1"), "{shown}");

    // An invalid message is shown as it is, without control characters for the terminal.
    let text = fixture.said(&["list"]).await;
    assert!(text.contains("unreadable") && text.contains(&rubbish[..8]), "{text}");
    let shown = fixture.said(&["show", &rubbish]).await;
    assert!(shown.contains("rub\\u{9b}31mbish"), "{shown}");
    assert!(fixture.said(&["drop", "--id", &rubbish, "--yes"]).await.contains("1 dead letter dropped"));
    assert_eq!(fixture.counts().await, (2, 0));
}

#[tokio::test]
async fn a_notification_moved_by_the_redrive_policy_is_listed() {
    let fixture = DeadLetterFixture::new().await;
    let put =
        fixture.aws.clients.s3.put_object().bucket(&fixture.aws.bucket).key("incoming/shop/orders/a.csv");
    put.body(b"id\n1\n".to_vec().into()).send().await.unwrap();
    // The function fails on it repeatedly: it is received and never deleted.
    let receive = fixture.aws.clients.sqs.receive_message().queue_url(&fixture.aws.upload_queue_url);
    for _ in 0..100 {
        let again = receive.clone().visibility_timeout(0).max_number_of_messages(10).send().await.unwrap();
        if again.messages().is_empty() && fixture.counts().await.0 > 0 {
            break;
        }
    }
    let list =
        fixture.json(&["list", "--json", "--code", "received_too_often", "--source", "shop/orders"]).await;
    assert_eq!(list["dead_letters"].as_array().unwrap().len(), 1);
    assert_eq!(list["dead_letters"][0]["origin"]["key"], "incoming/shop/orders/a.csv");
    let id = page_ids(&list)[0].to_string();
    assert_eq!(
        fixture.json(&["show", &id, "--json"]).await["dead_letter"]["origin"]["bucket"],
        fixture.aws.bucket
    );
}

#[tokio::test]
async fn show_prints_the_whole_dead_letter_and_advice() {
    let fixture = DeadLetterFixture::new().await;
    let record = "7,\"a\u{1b}[2Jb\",\u{9b}x";
    let rows = rows_dead_letter(7, Code::WrongColumnCount, Payload::raw(record.as_bytes()));
    let mut reason = Reason::new(Code::RefusedByModel, "invalid input syntax for type numeric: \"free\"");
    reason.sqlstate = Some("22P02".to_owned());
    reason.model = Some("orders".to_owned());
    let event = DeadLetter::new(
        DeadLetterKind::Event,
        "event:1",
        Some("shop"),
        Some("orders"),
        reason,
        Origin { batch_id: Some(uuid::Uuid::nil()), event_id: Some(4_711), ..Origin::default() },
        Payload::raw(br#"{"total":"free","lines":[1,2]}"#),
    );
    let body =
        json!({ "dedupe_keys": ["id:1"], "content_type": "application/json", "body": "{\"a\":{\"b\":1}}" });
    let delivery = DeadLetter::new(
        DeadLetterKind::Delivery,
        "webhook:github:d1",
        Some("github"),
        Some("push"),
        Reason::new(Code::DatabaseUnreachable, "connect to the database: connection refused"),
        Origin { delivery_id: Some("d1".to_owned()), ..Origin::default() },
        Payload::Json(body),
    );
    fixture.send(&[rows.clone(), event.clone(), delivery.clone()]).await;
    fixture.send(std::slice::from_ref(&rows)).await;

    for (dead_letter, words) in [
        (
            &rows,
            &[
                "line          9",
                "record        7 (from 0)",
                "offset        70 bytes",
                "messages      2",
                "7,\"a\\u{1b}[2Jb\",\\u{9b}x",
                "The record has more or fewer fields than the table.",
                "ragged = \"fill\"",
            ][..],
        ),
        (
            &event,
            &[
                "sqlstate      22P02",
                "model         orders",
                "event         4711",
                "  \"total\": \"free\"",
                "millrace models run",
            ],
        ),
        (
            &delivery,
            &["delivery      d1", "\"dedupe_keys\"", "  \"a\": {\n    \"b\": 1", "connection refused"],
        ),
    ] {
        let id = dead_letter.id.to_string();
        let shown = fixture.said(&["show", &id]).await;
        for words in words.iter().chain(&[id.as_str(), dead_letter.reason.code.as_str()]) {
            assert!(shown.contains(words) || unwrapped(&shown).contains(words), "{words}: {shown}");
        }
        assert!(shown.chars().all(|it| it == '\n' || !it.is_control()), "{shown:?}");
        let json = fixture.json(&["show", &id, "--json"]).await;
        assert_eq!(json["dead_letter"], serde_json::to_value(dead_letter).unwrap());
        assert!(json["what_to_do"].as_str().is_some_and(|text| text.contains("redrive")), "{json}");
    }
    let output = fixture.run(&["show", &uuid::Uuid::nil().to_string()]).await;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert_eq!(fixture.counts().await, (4, 0));
}

#[tokio::test]
async fn show_prints_the_object_of_a_pointer_and_reports_a_missing_one() {
    let fixture = DeadLetterFixture::new().await;
    let large = rows_dead_letter(0, Code::FieldTooLong, Payload::raw("canary ".repeat(2_000).as_bytes()));
    fixture.send_within(std::slice::from_ref(&large), 4_096).await;
    assert!(matches!(fixture.aws.dead_letters().await[0].payload, Payload::Pointer { .. }));
    let id = large.id.to_string();
    let shown = fixture.said(&["show", &id]).await;
    assert!(shown.contains("canary canary"), "{shown}");

    let key = format!("dead-letters/{id}.json");
    fixture.aws.clients.s3.delete_object().bucket(&fixture.aws.bucket).key(&key).send().await.unwrap();
    let shown = fixture.said(&["show", &id]).await;
    assert!(shown.contains(&key) && shown.contains("is missing"), "{shown}");
    let export = fixture.run(&["export"]).await;
    assert_eq!(export.status.code(), Some(1), "{}", said(&export));
    assert!(said(&export).contains(&format!("{id} is written without its payload")), "{}", said(&export));
}

#[tokio::test]
async fn a_payload_that_looks_like_a_pointer_opens_and_deletes_nothing() {
    let fixture = DeadLetterFixture::new().await;
    let put = fixture.aws.clients.s3.put_object().bucket(&fixture.aws.bucket).key("incoming/secret");
    put.body(b"canary".to_vec().into()).send().await.unwrap();
    let pointer =
        json!({ "pointer": { "bucket": fixture.aws.bucket, "key": "incoming/secret", "bytes": 6 } });
    let dead_letter = DeadLetter::new(
        DeadLetterKind::Upload,
        "message:1",
        None,
        None,
        Reason::new(Code::NotANotification, "neither an S3 notification nor an EventBridge event of S3"),
        Origin::default(),
        Payload::Json(pointer),
    );
    fixture.send(std::slice::from_ref(&dead_letter)).await;
    let shown = fixture.said(&["show", &dead_letter.id.to_string()]).await;
    assert!(!shown.contains("canary"), "{shown}");
    fixture.said(&["drop", "--all", "--yes"]).await;
    let head = fixture.aws.clients.s3.head_object().bucket(&fixture.aws.bucket).key("incoming/secret");
    head.send().await.expect("the object is still there");
}

#[tokio::test]
async fn a_notification_is_listed_under_the_source_that_declares_its_path() {
    let fixture = DeadLetterFixture::new().await;
    let pipeline = tempfile::tempdir().unwrap();
    let sources = "[erp.csv]\npath = 'incoming/shop/orders/*'\nevent_type = 'invoices'\n";
    std::fs::write(pipeline.path().join("sources.toml"), sources).unwrap();
    fixture.send_body(&notification("b").to_string()).await;
    let list = async |source: &str| {
        let arguments = ["list", "--json", "--source", source];
        let output = fixture.command(&arguments).env("MILLRACE_PIPELINE", pipeline.path()).output();
        let output = output.await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let declared = list("erp").await;
    assert_eq!(declared["dead_letters"][0]["event_type"], "invoices");
    assert_eq!(list("shop").await["matching"], 0);

    // An invalid file does not hide the dead letters.
    std::fs::write(pipeline.path().join("sources.toml"), "[erp.csv]\npaht = 'x'\n").unwrap();
    assert_eq!(list("shop").await["matching"], 1);
}
