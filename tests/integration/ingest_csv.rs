//! The compiled ingest-csv behind a Lambda Runtime API: a real bucket, real queues, a real database.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::future::join_all;
use millrace::dead_letter::{LetterKind, Payload};
use millrace_tests::aws::Aws;
use millrace_tests::postgres::{Database, number};
use millrace_tests::runtime_api::{Function, Outcome, binary};
use serde_json::{Value, json};
use tokio_postgres::Client;

const LONG: Duration = Duration::from_secs(60);

struct Stack {
    aws: Aws,
    database: Database,
    owner: Client,
}

impl Stack {
    async fn new() -> Stack {
        let database = Database::new().await;
        let owner = database.owner().await;
        Stack { aws: Aws::new().await, database, owner }
    }

    async fn function(&self, settings: &[(&str, &str)]) -> Function {
        let mut environment = self.aws.variables(&self.database.url_for("millrace_ingest"));
        environment.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Function::spawn(&binary("ingest-csv"), &environment).await
    }

    async fn rows(&self) -> i64 {
        number(&self.owner, "select count(*) from raw_events").await
    }

    /// Every record of `file` is in raw_events as often as in the file, and nothing else is.
    async fn holds(&self, file: &str) {
        let mut expected: BTreeMap<String, i64> = BTreeMap::new();
        let mut reader = csv::Reader::from_reader(file.as_bytes());
        let names = reader.headers().expect("a header").clone();
        for record in reader.records() {
            let record = record.expect("a record");
            let object: serde_json::Map<String, Value> =
                names.iter().zip(&record).map(|(name, value)| (name.to_owned(), json!(value))).collect();
            *expected.entry(Value::Object(object).to_string()).or_default() += 1;
        }
        let rows = self.owner.query("select payload from raw_events", &[]).await.expect("read raw_events");
        let mut found: BTreeMap<String, i64> = BTreeMap::new();
        for row in rows {
            *found.entry(row.get::<_, Value>(0).to_string()).or_default() += 1;
        }
        let missing: Vec<_> =
            expected.iter().filter(|(row, count)| found.get(*row) != Some(count)).take(3).collect();
        let surplus: Vec<_> =
            found.iter().filter(|(row, count)| expected.get(*row) != Some(count)).take(3).collect();
        assert!(expected == found, "missing {missing:?}, surplus {surplus:?}");
        let staged = number(&self.owner, "select sum(staged_count)::bigint from staging.batches").await;
        assert_eq!(staged, found.values().sum::<i64>(), "the ledger agrees");
        let differing = "select count(*) from staging.loads join staging.load_results using (load_id)
             where record_count <> (select sum(read_count) from staging.batches where load_id = loads.load_id)";
        assert_eq!(number(&self.owner, differing).await, 0, "the reader's own count agrees");
    }
}

fn accepted() -> Value {
    json!({ "batchItemFailures": [] })
}

fn id(event: &Value) -> &Value {
    &event["Records"][0]["messageId"]
}

/// A file of `rows` records, some over several lines.
fn orders(rows: usize) -> String {
    let mut text = "id,name,a_longer_name\n".to_owned();
    for row in 0..rows {
        match row % 7 {
            0 => text.push_str(&format!("{row},\"two\nlines, \"\"quoted\"\"\",00{row}\n")),
            1 => text.push_str(&format!("{row},,ü\n")),
            _ => text.push_str(&format!("{row},name {row},{}\n", row * 3)),
        }
    }
    text
}

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
    assert!(stack.aws.letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_notification_sixteen_times_at_once_is_one_load() {
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
    // Overwritten, it is a new load.
    let event = stack.aws.put("incoming/shop/orders/a.csv", file.into_bytes()).await;
    functions[0].invoke(&event, LONG).await.response();
    assert_eq!(stack.rows().await, 6_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_at_any_moment_loses_nothing_and_repeats_nothing() {
    let stack = Stack::new().await;
    let file = orders(20_000);
    let event = stack.aws.put("incoming/shop/orders/a.csv", file.clone().into_bytes()).await;
    let settings = [("MILLRACE_CHUNK_ROWS", "500")];
    let mut crashes = 0;
    // Later every time, until one lives to the end.
    for pause in (0..200).map(|n| Duration::from_millis(10 + n * 15)) {
        let function = stack.function(&settings).await;
        let killed = async {
            tokio::time::sleep(pause).await;
            function.kill();
        };
        let (outcome, ()) = futures_util::join!(function.invoke(&event, LONG), killed);
        if outcome == Outcome::Crashed {
            crashes += 1;
        } else {
            break;
        }
    }
    assert!(crashes > 0, "nothing was killed");
    let function = stack.function(&settings).await;
    assert_eq!(function.invoke(&event, LONG).await.response(), accepted());
    stack.holds(&file).await;
    assert_eq!(
        number(&stack.owner, "select count(*) from staging.load_results where record_count = 20000").await,
        1
    );
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
    let letters = stack.aws.letters().await;
    assert_eq!(letters.len(), 5);
    for letter in letters {
        let line = letter.origin.line.expect("a line");
        assert_eq!(letter.kind, LetterKind::Rows);
        assert_eq!(letter.reason.code, "wrong_column_count");
        assert_eq!(letter.origin.offset, Some(offsets[&line] as u64));
        assert_eq!(letter.payload, Payload::Json(json!(format!("{},too,many,fields", line - 1))));
    }
    assert_eq!(number(&stack.owner, "select rejected_count from staging.batches").await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisonous_file_or_message_becomes_a_letter_and_others_flow() {
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
        let letters = stack.aws.letters().await;
        assert!(letters.iter().all(|letter| letter.kind == LetterKind::Upload));
        let mut found: Vec<&str> = letters.iter().map(|letter| letter.reason.code.as_str()).collect();
        found.sort_unstable();
        codes.sort_unstable();
        assert_eq!(found, codes, "{key}");
    }
    let rubbish = json!({ "Records": [{ "eventSource": "aws:sqs", "messageId": "m", "body": "rubbish" }] });
    assert_eq!(function.invoke(&rubbish, LONG).await.response(), accepted());
    let letters = stack.aws.letters().await;
    assert_eq!(letters.iter().filter(|letter| letter.reason.code == "not_a_notification").count(), 1);
    let event = stack.aws.put("incoming/shop/orders/good.csv", b"a,b\n1,2\n".to_vec()).await;
    assert_eq!(function.invoke(&event, LONG).await.response(), accepted());
    assert_eq!(
        number(&stack.owner, "select count(*) from raw_events where payload = '{\"a\":\"1\",\"b\":\"2\"}'")
            .await,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_while_the_database_is_away() {
    let stack = Stack::new().await;
    let event = stack.aws.put("incoming/shop/orders/a.csv", orders(100).into_bytes()).await;
    let mut environment = stack.aws.variables("postgresql://millrace_ingest:x@127.0.0.1:1/none");
    environment.push(("MILLRACE_LOG".to_owned(), "debug".to_owned()));
    let function = Function::spawn(&binary("ingest-csv"), &environment).await;
    let answer = function.invoke(&event, Duration::from_secs(3)).await.response();
    assert_eq!(answer, json!({ "batchItemFailures": [{ "itemIdentifier": id(&event) }] }));
    assert!(function.logs().iter().any(|line| line.contains("database_unreachable")));
    // The same message once the database is back.
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
