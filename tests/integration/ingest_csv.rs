//! The compiled ingest-csv behind a Lambda Runtime API: a real bucket, real queues, a real database.

use millrace::Code;
use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::future::join_all;
use millrace::dead_letter::{DeadLetterKind, Payload};
use millrace_tests::postgres::number;
use millrace_tests::runtime_api::{Function, Outcome, binary};
use serde_json::{Value, json};

use crate::stack::{LONG, Stack, accepted, id, orders};

#[tokio::test(flavor = "multi_thread")]
async fn every_record_of_a_file_becomes_a_row_whatever_its_key_and_compression() {
    let stack = Stack::new().await;
    let function = stack.function(&[("MILLRACE_CHUNK_ROWS", "300")]).await;
    let file = orders(2_000);
    let event = stack.aws.put("incoming/shop/orders/a b+ü.csv", file.clone().into_bytes()).await;
    assert_eq!(function.invoke(&event, LONG).await.response(), accepted());
    stack.holds(&file).await;
    assert_eq!(number(&stack.owner, "select count(*) from staging.batches").await, 7);

    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(file.as_bytes()).expect("compress");
    let event = stack.aws.put("incoming/shop/orders/again.csv.gz", gzip.finish().expect("compress")).await;
    assert_eq!(function.invoke(&event, LONG).await.response(), accepted());
    assert_eq!(stack.rows().await, 4_000);
    assert!(stack.aws.dead_letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_concurrent_copies_of_a_notification_are_one_load() {
    let stack = Stack::new().await;
    let file = orders(3_000);
    let event = stack.aws.put("incoming/shop/orders/a.csv", file.clone().into_bytes()).await;
    let mut functions = Vec::new();
    for _ in 0..4 {
        functions.push(stack.function(&[("MILLRACE_CHUNK_ROWS", "200")]).await);
    }
    let answers = join_all((0..16).map(|n| functions[n % 4].invoke(&event, LONG))).await;
    assert!(answers.into_iter().all(|answer| answer.response() == accepted()));
    stack.holds(&file).await;
    // A new version is a new load.
    let event = stack.aws.put("incoming/shop/orders/a.csv", file.into_bytes()).await;
    functions[0].invoke(&event, LONG).await.response();
    assert_eq!(stack.rows().await, 6_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_runs_out_of_time_is_continued_from_its_next_chunk() {
    let stack = Stack::new().await;
    let file = orders(60_000);
    let mut event = stack.aws.put("incoming/shop/orders/a.csv", file.clone().into_bytes()).await;
    let function =
        stack.function(&[("MILLRACE_CHUNK_ROWS", "200"), ("MILLRACE_COPY_CONNECTIONS", "1")]).await;
    let mut invocations = 0;
    loop {
        invocations += 1;
        let answer = function.invoke(&event, Duration::from_millis(400)).await.response();
        let continuations = stack.aws.continuations().await;
        if continuations.is_empty() && answer == accepted() {
            break;
        }
        event = continuations.into_iter().next().unwrap_or(event);
        assert!(invocations < 100, "no end in sight");
    }
    assert!(invocations > 1, "it had time for everything at once");
    stack.holds(&file).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_records_are_dead_lettered_with_their_place_and_the_rest_is_loaded() {
    let stack = Stack::new().await;
    let mut file = b"id,name,note\n".to_vec();
    let mut offsets = BTreeMap::new();
    for row in 1..=5_000 {
        if row % 1_000 == 0 {
            offsets.insert(row + 1, file.len());
            file.extend_from_slice(format!("{row},too,many,fields\n").as_bytes());
        } else {
            file.extend_from_slice(format!("{row},n,x\n").as_bytes());
        }
    }
    let event = stack.aws.put("incoming/shop/orders/a.csv", file).await;
    let function = stack.function(&[]).await;
    assert_eq!(function.invoke(&event, LONG).await.response(), accepted());
    assert_eq!(stack.rows().await, 4_995);
    let dead_letters = stack.aws.dead_letters().await;
    assert_eq!(dead_letters.len(), 5);
    for dead_letter in dead_letters {
        let line = dead_letter.origin.line.expect("a line");
        assert_eq!(dead_letter.kind, DeadLetterKind::Rows);
        assert_eq!(dead_letter.reason.code, "wrong_column_count");
        assert_eq!(dead_letter.origin.offset, Some(offsets[&line] as u64));
        assert_eq!(dead_letter.payload, Payload::Json(json!(format!("{},too,many,fields", line - 1))));
    }
    assert_eq!(number(&stack.owner, "select rejected_count from staging.batches").await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_file_or_message_becomes_a_dead_letter_and_others_are_loaded() {
    let stack = Stack::new().await;
    let function = stack.function(&[]).await;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(orders(5_000).as_bytes()).expect("compress");
    let mut truncated = gzip.finish().expect("compress");
    truncated.truncate(truncated.len() / 2);
    let noise: Vec<u8> = (0..50_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut codes = Vec::new();
    for (key, body, code) in [
        ("incoming/shop/orders/cut.csv.gz", truncated, "truncated_gzip"),
        ("incoming/shop/orders/noise.csv", noise, "not_text"),
        ("incoming/nowhere.csv", b"a,b\n1,2\n".to_vec(), "no_source_for_key"),
    ] {
        let event = stack.aws.put(key, body).await;
        assert_eq!(function.invoke(&event, LONG).await.response(), accepted(), "{key}");
        codes.push(code);
        let dead_letters = stack.aws.dead_letters().await;
        assert!(dead_letters.iter().all(|dead_letter| dead_letter.kind == DeadLetterKind::Upload));
        let mut found: Vec<&str> =
            dead_letters.iter().map(|dead_letter| dead_letter.reason.code.as_str()).collect();
        found.sort_unstable();
        codes.sort_unstable();
        assert_eq!(found, codes, "{key}");
    }
    let rubbish = json!({ "Records": [{ "eventSource": "aws:sqs", "messageId": "m", "body": "rubbish" }] });
    assert_eq!(function.invoke(&rubbish, LONG).await.response(), accepted());
    let dead_letters = stack.aws.dead_letters().await;
    assert_eq!(
        dead_letters.iter().filter(|dead_letter| dead_letter.reason.code == Code::NotANotification).count(),
        1
    );
    let event = stack.aws.put("incoming/shop/orders/good.csv", b"a,b\n1,2\n".to_vec()).await;
    assert_eq!(function.invoke(&event, LONG).await.response(), accepted());
    assert_eq!(
        number(&stack.owner, "select count(*) from raw_events where payload = '{\"a\":\"1\",\"b\":\"2\"}'")
            .await,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_while_the_database_is_unavailable() {
    let stack = Stack::new().await;
    let event = stack.aws.put("incoming/shop/orders/a.csv", orders(100).into_bytes()).await;
    let mut environment = stack.aws.variables("postgresql://millrace_ingest:x@127.0.0.1:1/none");
    environment.push(("MILLRACE_LOG".to_owned(), "debug".to_owned()));
    let function = Function::spawn(&binary("ingest-csv"), &environment).await;
    let answer = function.invoke(&event, Duration::from_secs(3)).await.response();
    assert_eq!(answer, json!({ "batchItemFailures": [{ "itemIdentifier": id(&event) }] }));
    assert!(function.logs().iter().any(|line| line.contains("database_unreachable")));
    // The same message succeeds once the database is available.
    let function = stack.function(&[]).await;
    assert_eq!(function.invoke(&event, LONG).await.response(), accepted());
    assert_eq!(stack.rows().await, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_flat_and_logs_hold_no_payload() {
    let stack = Stack::new().await;
    let function = stack.function(&[("MILLRACE_LOG", "debug,aws=warn,hyper=warn")]).await;
    let small = stack.aws.put("incoming/shop/orders/small.csv", orders(10_000).into_bytes()).await;
    function.invoke(&small, LONG).await.response();
    let before = function.peak_memory();
    let canary = orders(400_000).replace("name 2", "canary");
    let size = canary.len() as u64;
    let large = stack.aws.put("incoming/shop/orders/large.csv", canary.into_bytes()).await;
    assert_eq!(function.invoke(&large, LONG).await.response(), accepted());
    let grown = function.peak_memory() - before;
    assert!(grown < 64 << 20, "{grown} bytes more for a file of {size}");
    assert!(!function.logs().iter().any(|line| line.contains("canary") || line.contains("role-password")));
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_and_eventbridge_notifications_return_a_count_or_an_error() {
    let stack = Stack::new().await;
    let function = stack.function(&[]).await;
    let file = orders(50);
    let event = stack.aws.put("incoming/shop/orders/a b+ü.csv", file.clone()).await;
    let body = event["Records"][0]["body"].as_str().expect("a body");
    let bare: Value = serde_json::from_str(body).expect("a notification");
    assert_eq!(function.invoke(&bare, LONG).await.response(), json!({ "loaded": 1, "continued": 0 }));
    // The same object as an EventBridge event, whose key is not encoded.
    let object = &bare["Records"][0]["s3"]["object"];
    let bridge = json!({
        "version": "0", "id": "2d4eba74-0000-0000-0000-000000000000", "account": "000000000000",
        "source": "aws.s3", "detail-type": "Object Created", "time": "2026-01-01T00:00:00Z", "region": "us-east-1",
        "resources": [format!("arn:aws:s3:::{}", stack.aws.bucket)],
        "detail": {
            "version": "0", "reason": "PutObject",
            "bucket": { "name": stack.aws.bucket },
            "object": { "key": "incoming/shop/orders/a b+ü.csv", "size": file.len(), "etag": object["eTag"],
                        "version-id": object["versionId"], "sequencer": object["sequencer"] },
        },
    });
    assert_eq!(function.invoke(&bridge, LONG).await.response(), json!({ "loaded": 1, "continued": 0 }));
    // The same EventBridge event through a queue.
    let queued =
        json!({ "Records": [{ "eventSource": "aws:sqs", "messageId": "m", "body": bridge.to_string() }] });
    assert_eq!(function.invoke(&queued, LONG).await.response(), accepted());
    stack.holds(&file).await;
    assert_eq!(number(&stack.owner, "select count(*) from staging.loads").await, 1);
    // Without a queue to retry, the caller must get the error.
    let away = stack.function(&[("DATABASE_URL", "postgresql://millrace_ingest:x@127.0.0.1:1/none")]).await;
    for event in [&bare, &bridge] {
        assert!(matches!(away.invoke(event, Duration::from_secs(2)).await, Outcome::Error(_)));
    }
    assert!(stack.aws.dead_letters().await.is_empty());
}
