//! Letters of every sort, shown whole; and what AWS itself puts in the queue.

use millrace::dead_letter::{Letter, LetterKind, Origin, Payload, Reason};
use serde_json::{Value, json};

use super::site::{Site, page_ids, rows_letter, said};

fn notification(bucket: &str) -> Value {
    json!({ "Records": [{
        "eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
        "eventTime": "2026-01-02T03:04:05.678Z",
        "s3": { "bucket": { "name": bucket },
                "object": { "key": "incoming/shop/orders/a+b.csv", "versionId": "v1", "sequencer": "0055" } } }] })
}

#[tokio::test]
async fn what_aws_puts_in_the_queue_is_an_upload() {
    let site = Site::new().await;
    site.send_body(&notification("canary-bucket").to_string()).await;
    let failure = json!({
        "version": "1.0", "timestamp": "2026-01-02T03:04:06Z",
        "requestContext": { "requestId": "1", "condition": "RetriesExhausted", "approximateInvokeCount": 3 },
        "requestPayload": { "canary": 1 },
        "responseContext": { "statusCode": 200, "functionError": "Unhandled" },
        "responsePayload": { "errorMessage": "out of memory" } });
    site.send_body(&failure.to_string()).await;
    let rubbish = site.send_body("rub\u{9b}31mbish").await;

    // The schema holds for these as well.
    let list = site.json(&["list", "--json", "--kind", "upload"]).await;
    assert_eq!(list["matching"], 2);
    let codes: Vec<&str> =
        list["letters"].as_array().unwrap().iter().map(|it| it["reason"]["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["invocation_failed", "received_too_often"], "newest first");
    let ids = page_ids(&list);
    let shown = site.said(&["show", &ids[1].to_string()]).await;
    for words in [
        "upload",
        "shop",
        "orders",
        "received_too_often",
        "s3://canary-bucket/incoming/shop/orders/a b.csv",
        "2026-01-02T03:04:05.678Z",
        "\"sequencer\": \"0055\"",
        "mend that and redrive",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let shown = site.said(&["show", &ids[0].to_string()]).await;
    assert!(shown.contains("RetriesExhausted: out of memory") && shown.contains("\"canary\": 1"), "{shown}");

    // A message that is nothing is shown as it is, but cannot write on the screen.
    let text = site.said(&["list"]).await;
    assert!(text.contains("unreadable") && text.contains(&rubbish), "{text}");
    let shown = site.said(&["show", &rubbish]).await;
    assert!(shown.contains("rub\\u{9b}31mbish"), "{shown}");
    assert!(site.said(&["drop", "--id", &rubbish, "--yes"]).await.contains("1 letter dropped"));
    assert_eq!(site.counts().await, (2, 0));
}

#[tokio::test]
async fn a_notification_that_its_queue_gave_up_is_found_there() {
    let site = Site::new().await;
    let put = site.aws.clients.s3.put_object().bucket(&site.aws.bucket).key("incoming/shop/orders/a.csv");
    put.body(b"id\n1\n".to_vec().into()).send().await.unwrap();
    // The function fails on it again and again: it is received, and never deleted.
    let receive = site.aws.clients.sqs.receive_message().queue_url(&site.aws.upload_queue_url);
    for _ in 0..100 {
        let again = receive.clone().visibility_timeout(0).max_number_of_messages(10).send().await.unwrap();
        if again.messages().is_empty() && site.counts().await.0 > 0 {
            break;
        }
    }
    let list =
        site.json(&["list", "--json", "--code", "received_too_often", "--source", "shop/orders"]).await;
    assert_eq!(list["letters"].as_array().unwrap().len(), 1);
    assert_eq!(list["letters"][0]["origin"]["key"], "incoming/shop/orders/a.csv");
    let id = page_ids(&list)[0].to_string();
    assert_eq!(site.json(&["show", &id, "--json"]).await["letter"]["origin"]["bucket"], site.aws.bucket);
}

#[tokio::test]
async fn a_letter_is_shown_whole_with_what_to_do() {
    let site = Site::new().await;
    let record = "7,\"a\u{1b}[2Jb\",\u{9b}x";
    let rows = rows_letter(7, "wrong_column_count", Payload::raw(record.as_bytes()));
    let mut reason = Reason::new("refused_by_model", "invalid input syntax for type numeric: \"free\"");
    reason.sqlstate = Some("22P02".to_owned());
    reason.model = Some("orders".to_owned());
    let event = Letter::new(
        LetterKind::Event,
        "event:1",
        Some("shop"),
        Some("orders"),
        reason,
        Origin { batch_id: Some(uuid::Uuid::nil()), event_id: Some(4_711), ..Origin::default() },
        Payload::raw(br#"{"total":"free","lines":[1,2]}"#),
    );
    let body =
        json!({ "dedupe_keys": ["id:1"], "content_type": "application/json", "body": "{\"a\":{\"b\":1}}" });
    let delivery = Letter::new(
        LetterKind::Delivery,
        "webhook:github:d1",
        Some("github"),
        Some("push"),
        Reason::new("database_unreachable", "connect to the database: connection refused"),
        Origin { delivery_id: Some("d1".to_owned()), ..Origin::default() },
        Payload::Json(body),
    );
    site.send(&[rows.clone(), event.clone(), delivery.clone()]).await;
    site.send(std::slice::from_ref(&rows)).await;

    for (letter, words) in [
        (
            &rows,
            &[
                "line          9",
                "record        7 (from 0)",
                "offset        70 bytes",
                "messages      2",
                "7,\"a\\u{1b}[2Jb\",\\u{9b}x",
                "the record has more or fewer fields than the table",
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
        let id = letter.id.to_string();
        let shown = site.said(&["show", &id]).await;
        for words in words.iter().chain(&[id.as_str(), letter.reason.code.as_str()]) {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        assert!(shown.chars().all(|it| it == '\n' || !it.is_control()), "{shown:?}");
        let json = site.json(&["show", &id, "--json"]).await;
        assert_eq!(json["letter"], serde_json::to_value(letter).unwrap());
        assert!(json["what_to_do"].as_str().is_some_and(|text| text.contains("redrive")), "{json}");
    }
    let output = site.run(&["show", &uuid::Uuid::nil().to_string()]).await;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert_eq!(site.counts().await, (4, 0));
}

#[tokio::test]
async fn what_a_pointer_points_to_is_shown_and_its_loss_is_said() {
    let site = Site::new().await;
    let large = rows_letter(0, "field_too_long", Payload::raw("canary ".repeat(2_000).as_bytes()));
    site.send_within(std::slice::from_ref(&large), 4_096).await;
    assert!(matches!(site.aws.letters().await[0].payload, Payload::Pointer { .. }));
    let id = large.id.to_string();
    let shown = site.said(&["show", &id]).await;
    assert!(shown.contains("canary canary"), "{shown}");

    let key = format!("dead-letters/{id}.json");
    site.aws.clients.s3.delete_object().bucket(&site.aws.bucket).key(&key).send().await.unwrap();
    let shown = site.said(&["show", &id]).await;
    assert!(shown.contains(&key) && shown.contains("is gone"), "{shown}");
    let export = site.run(&["export"]).await;
    assert_eq!(export.status.code(), Some(1), "{}", said(&export));
    assert!(said(&export).contains(&format!("{id} is written without what it held")), "{}", said(&export));
}

#[tokio::test]
async fn a_payload_that_looks_like_a_pointer_opens_and_deletes_nothing() {
    let site = Site::new().await;
    let put = site.aws.clients.s3.put_object().bucket(&site.aws.bucket).key("incoming/secret");
    put.body(b"canary".to_vec().into()).send().await.unwrap();
    let pointer = json!({ "pointer": { "bucket": site.aws.bucket, "key": "incoming/secret", "bytes": 6 } });
    let letter = Letter::new(
        LetterKind::Upload,
        "message:1",
        None,
        None,
        Reason::new("not_a_notification", "neither an S3 notification nor an EventBridge event of S3"),
        Origin::default(),
        Payload::Json(pointer),
    );
    site.send(std::slice::from_ref(&letter)).await;
    let shown = site.said(&["show", &letter.id.to_string()]).await;
    assert!(!shown.contains("canary"), "{shown}");
    site.said(&["drop", "--all", "--yes"]).await;
    let head = site.aws.clients.s3.head_object().bucket(&site.aws.bucket).key("incoming/secret");
    head.send().await.expect("the object is still there");
}
