//! Dead letters of kind `upload`: whole files, and notifications that AWS moved to the dead-letter queue.

use millrace::dead_letter::DeadLetterKind;
use serde_json::json;

use super::fixture::{LAX, ORDERS, RedriveFixture, STRICT};

/// 400 records. All but every fourth have the wrong type.
fn mostly_bad() -> String {
    let rows =
        (0..400).map(|row| if row % 4 == 0 { format!("{row},{row}\n") } else { format!("{row},n{row}\n") });
    "id,total\n".to_owned() + &rows.collect::<String>()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_file_is_read_again_and_is_in_the_facts_once() {
    let fixture = RedriveFixture::new(STRICT, &[("orders", ORDERS)]).await;
    // The first chunk of 50 is staged before the load stops for too many bad records.
    let chunks = [("MILLRACE_CHUNK_ROWS", "50")];
    fixture.deploy("ingest-csv", &chunks).await;
    fixture.load("incoming/shop/orders/a.csv", &mostly_bad()).await;
    let [dead_letter] = &fixture.dead_letters(DeadLetterKind::Upload).await[..] else {
        panic!("one dead letter")
    };
    assert_eq!((dead_letter.reason.code.as_str(), dead_letter.attempts), ("too_many_rejects", 1));
    let rows = fixture.dead_letters(DeadLetterKind::Rows).await;
    let staged = fixture.number("select count(*) from raw_events").await;
    assert!(staged > 0 && rows.len() > 30, "{staged} staged, {} dead letters", rows.len());
    fixture.transform().await;
    assert_eq!(fixture.number("select count(*) from facts.orders").await, staged);

    // The cause is not fixed, so the second attempt stops too.
    let summary = fixture.redrive(json!({ "kind": "upload" })).await;
    assert_eq!(summary["redriven"], 1);
    assert_eq!(fixture.load_queued().await, 1);
    let [again] = &fixture.dead_letters(DeadLetterKind::Upload).await[..] else { panic!("one dead letter") };
    assert_eq!((again.id, again.attempts), (dead_letter.id, 2));
    assert_eq!(again.first_failed_at, dead_letter.first_failed_at);
    assert_eq!(
        fixture.number("select count(*) from raw_events").await,
        staged,
        "in place of the first attempt"
    );

    fixture.write_sources(LAX);
    fixture.deploy("ingest-csv", &chunks).await;
    fixture.repeat(&[dead_letter.clone(), again.clone()]).await;
    let summary = fixture.redrive(json!({ "kind": "upload" })).await;
    assert_eq!(summary["redriven"], 3);
    // One copy starts the third attempt. An older dead letter finds a later attempt.
    fixture.repeat(&[dead_letter.clone(), again.clone()]).await;
    fixture.redrive(json!({ "kind": "upload" })).await;
    fixture.load_queued().await;
    assert_eq!(fixture.number("select count(*) from raw_events").await, 400);
    assert_eq!(fixture.number("select max(attempt)::bigint from staging.loads").await, 3);
    // The records of earlier attempts are part of the file.
    let summary = fixture.redrive(json!({})).await;
    assert_eq!((&summary["redriven"], &summary["failed"]), (&json!(0), &json!(0)), "{summary}");
    assert!(summary["void"].as_u64() >= Some(rows.len() as u64), "{summary}");
    assert!(fixture.aws.dead_letters().await.is_empty());
    fixture.transform().await;
    assert_eq!(fixture.number("select count(*) from facts.orders").await, 400);
    assert_eq!(fixture.number("select count(*) from raw_events").await, 400);
    fixture.reconciles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_a_source_is_loaded_once_it_has_one() {
    let fixture = RedriveFixture::new(LAX, &[]).await;
    fixture.load("incoming/nowhere.csv", "id,total\n1,2\n").await;
    let [dead_letter] = &fixture.dead_letters(DeadLetterKind::Upload).await[..] else {
        panic!("one dead letter")
    };
    assert_eq!(dead_letter.reason.code, "no_source_for_key");
    fixture.write_sources("[shop.csv]\npath = [\"incoming/nowhere.csv\"]\nevent_type = \"orders\"\n");
    fixture.deploy("ingest-csv", &[]).await;
    fixture.repeat(std::slice::from_ref(dead_letter)).await;
    assert_eq!(fixture.redrive_all().await, [2, 0, 0, 0, 0]);
    fixture.load_queued().await;
    assert_eq!(fixture.number("select count(*) from raw_events").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_moved_by_aws_are_delivered_again() {
    let fixture = RedriveFixture::new(LAX, &[]).await;
    // A notification as the upload queue's redrive policy moves it.
    let event = fixture.aws.put("incoming/shop/orders/a.csv", "id,total\n1,2\n").await;
    let notification = event["Records"][0]["body"].as_str().expect("a body").to_owned();
    fixture.send(&notification).await;
    // The same as an OnFailure destination sends it.
    let event = fixture.aws.put("incoming/shop/orders/b.csv", "id,total\n2,2\n").await;
    let request: serde_json::Value =
        serde_json::from_str(event["Records"][0]["body"].as_str().expect("a body")).expect("JSON");
    let failure = json!({
        "version": "1.0", "timestamp": "2026-11-01T00:00:00.000Z",
        "requestContext": { "requestId": "r", "functionArn": "arn:aws:lambda:x", "condition": "RetriesExhausted",
                            "approximateInvokeCount": 3 },
        "requestPayload": request,
        "responseContext": { "statusCode": 200, "functionError": "Unhandled" },
        "responsePayload": { "errorMessage": "out of memory" },
    });
    fixture.send(&failure.to_string()).await;
    assert_eq!(fixture.redrive_all().await, [2, 0, 0, 0, 0]);
    assert_eq!(fixture.load_queued().await, 2);
    assert_eq!(fixture.number("select count(*) from raw_events").await, 2);
    // The same notifications again: their loads are already done.
    fixture.send(&notification).await;
    fixture.send(&failure.to_string()).await;
    assert_eq!(fixture.redrive_all().await, [2, 0, 0, 0, 0]);
    fixture.load_queued().await;
    assert_eq!(fixture.number("select count(*) from raw_events").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_a_file_stays_in_the_queue() {
    let fixture = RedriveFixture::new(LAX, &[]).await;
    let function = fixture.lambda.get("ingest-csv");
    let event = json!({ "Records": [{ "eventSource": "aws:sqs", "messageId": "m1", "body": "rubbish" }] });
    function.invoke(&event, crate::stack::LONG).await.response();
    fixture.send("not even JSON").await;
    let summary = fixture.redrive(json!({})).await;
    assert_eq!((&summary["pending"], &summary["left"]), (&json!(1), &json!(1)), "{summary}");
    assert!(summary["reasons"][0]["message"].as_str().is_some_and(|text| text.contains("drop it")));
}
