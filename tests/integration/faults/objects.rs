//! Objects that change while they are read, and an S3 that does not respond.

use std::time::Duration;

use millrace_tests::postgres::number;
use millrace_tests::proxy::{Direction, Proxy};
use millrace_tests::runtime_api::Function;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::stack::{LONG, Stack, accepted, id};

/// A pipeline folder whose source `shop` declares how a new version of a file affects the rows of the old one.
fn pipeline(on_new_version: &str) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let sources = format!("[shop.csv]\non_new_version = \"{on_new_version}\"\n");
    std::fs::write(folder.path().join("sources.toml"), sources).expect("sources.toml");
    folder
}

/// A file with the version number in every row.
fn version(version: usize, rows: usize) -> String {
    let rows: String = (0..rows).map(|row| format!("{row},{version},{}\n", "x".repeat(40))).collect();
    format!("id,version,text\n{rows}")
}

/// The versions in raw_events with their row counts.
async fn versions(stack: &Stack, key: &str) -> Vec<(String, i64)> {
    let rows = stack
        .owner
        .query(
            "select payload->>'version', count(*) from raw_events
             join staging.batches using (batch_id) join staging.loads using (load_id)
             where object like '%/' || $1 group by 1 order by 1",
            &[&key],
        )
        .await
        .expect("read raw_events");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_version_wins_in_any_order_of_notifications() {
    let stack = Stack::new().await;
    let replacing = pipeline("replace");
    let function = stack.function(&[("MILLRACE_PIPELINE", &replacing.path().display().to_string())]).await;
    for (number, order) in ORDERS.iter().enumerate() {
        let key = format!("incoming/shop/orders/{number}.csv");
        let mut events = Vec::new();
        for (index, rows) in [30, 20, 10].into_iter().enumerate() {
            events.push(stack.aws.put(&key, version(index, rows)).await);
        }
        // The first notification is repeated at the end.
        for index in order.iter().chain(&order[..1]) {
            assert_eq!(function.invoke(&events[*index], LONG).await.response(), accepted());
        }
        assert_eq!(versions(&stack, &key).await, [("2".to_owned(), 10)], "in the order {order:?}");
    }
    // Superseded rows are hidden and not lost, and every record is counted.
    assert_eq!(number(&stack.owner, "select count(*) from staging.events").await, 6 * 60);
    assert_eq!(number(&stack.owner, "select sum(read_count)::bigint from staging.batches").await, 6 * 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_stays_where_the_source_says_append() {
    let stack = Stack::new().await;
    let appending = pipeline("append");
    let function = stack.function(&[("MILLRACE_PIPELINE", &appending.path().display().to_string())]).await;
    let key = "incoming/shop/orders/a.csv";
    let mut events = Vec::new();
    for (index, rows) in [30, 20, 10].into_iter().enumerate() {
        events.push(stack.aws.put(key, version(index, rows)).await);
    }
    for index in [2, 0, 1, 2] {
        assert_eq!(function.invoke(&events[index], LONG).await.response(), accepted());
    }
    let all = [("0".to_owned(), 30), ("1".to_owned(), 20), ("2".to_owned(), 10)];
    assert_eq!(versions(&stack, key).await, all);
}

/// About 10 MB, more than the buffers between S3 and the parser hold.
const LARGE: usize = 200_000;

/// The function with a proxy before S3.
async fn behind(store: &Proxy, stack: &Stack) -> Function {
    let address = format!("http://127.0.0.1:{}", store.port());
    stack.function(&[("AWS_ENDPOINT_URL_S3", &address)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_overwritten_while_it_is_read_is_read_to_its_end_as_it_was() {
    let stack = Stack::new().await;
    let store = Proxy::start(stack.aws.port()).await;
    let function = behind(&store, &stack).await;
    let key = "incoming/shop/orders/a.csv";
    let first = stack.aws.put(key, version(1, LARGE)).await;
    store.reset_after(Direction::ToClient, 4_000_000);
    let overwriting = async {
        store.reached(1).await;
        // The rest is requested when another version already exists.
        stack.aws.put(key, version(2, LARGE / 2)).await
    };
    let (answer, second) = futures_util::join!(function.invoke(&first, LONG), overwriting);
    assert_eq!(answer.response(), accepted());
    assert_eq!(versions(&stack, key).await, [("1".to_owned(), LARGE as i64)]);
    assert_eq!(function.invoke(&second, LONG).await.response(), accepted());
    assert_eq!(
        versions(&stack, key).await,
        [("1".to_owned(), LARGE as i64), ("2".to_owned(), LARGE as i64 / 2)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_versions_an_object_overwritten_while_it_is_read_is_dead_lettered_and_the_new_one_loaded() {
    let stack = Stack::new().await;
    stack.aws.forget_versions().await;
    let store = Proxy::start(stack.aws.port()).await;
    let function = behind(&store, &stack).await;
    let key = "incoming/shop/orders/a.csv";
    let first = stack.aws.put(key, version(1, LARGE)).await;
    store.stop_after(Direction::ToClient, 4_000_000);
    let overwriting = async {
        store.reached(1).await;
        let second = stack.aws.put(key, version(2, LARGE / 2)).await;
        store.pass();
        store.reset();
        second
    };
    let (answer, second) = futures_util::join!(function.invoke(&first, LONG), overwriting);
    assert_eq!(answer.response(), accepted());
    let dead_letters = stack.aws.dead_letters().await;
    assert_eq!(
        dead_letters.iter().map(|dead_letter| dead_letter.reason.code.as_str()).collect::<Vec<_>>(),
        ["object_replaced"]
    );
    let found = versions(&stack, key).await;
    assert!(found.iter().all(|(version, rows)| version == "1" && *rows < LARGE as i64), "{found:?}");
    assert_eq!(function.invoke(&second, LONG).await.response(), accepted());
    let found = versions(&stack, key).await;
    assert_eq!(found.last(), Some(&("2".to_owned(), LARGE as i64 / 2)));
    let differing = "select count(*) from staging.loads join staging.load_results using (load_id)
         where record_count <> (select coalesce(sum(read_count), 0) from staging.batches where load_id = loads.load_id)";
    assert_eq!(number(&stack.owner, differing).await, 0);
}

/// The function's remaining time is short.
const SHORT: Duration = Duration::from_secs(6);

async fn stays(function: &Function, event: &Value) {
    let answer = tokio::time::timeout(SHORT, function.invoke(event, SHORT)).await;
    let answer = answer.expect("an answer before the deadline").response();
    assert_eq!(answer, json!({ "batchItemFailures": [{ "itemIdentifier": id(event) }] }));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_is_met_when_s3_does_not_respond() {
    let stack = Stack::new().await;
    let store = Proxy::start(stack.aws.port()).await;
    let function = behind(&store, &stack).await;
    let key = "incoming/shop/orders/a.csv";
    let event = stack.aws.put(key, version(1, LARGE)).await;
    // S3 stops before the first byte, and in the middle.
    store.stop(&[Direction::ToServer]);
    stays(&function, &event).await;
    store.pass();
    store.stop_after(Direction::ToClient, 4_000_000);
    stays(&function, &event).await;
    assert_eq!(number(&stack.owner, "select count(*) from staging.load_results").await, 0);
    store.pass();
    assert_eq!(function.invoke(&event, LONG).await.response(), accepted());
    assert_eq!(versions(&stack, key).await, [("1".to_owned(), LARGE as i64)]);
    assert_eq!(number(&stack.owner, "select record_count from staging.load_results").await, LARGE as i64);
}
