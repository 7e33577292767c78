//! Compares the metrics of each function binary with its input.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use millrace::metrics::names::{ALL, Scope};
use millrace_tests::metrics::{described, sum, values};
use millrace_tests::runtime_api::{Function, binary};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::stack::{LONG, Stack, accepted};
use crate::transform::fixture::{ORDERS, TransformFixture};
use crate::webhook;

/// The metrics so far, once they have the expected values. Lines arrive through a pipe.
async fn metrics_until(function: &Function, is_there: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    for _ in 0..200 {
        let lines = function.metrics();
        if is_there(&lines) {
            return lines;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("not within five seconds: {:#?}", function.metrics());
}

/// The metric lines of `count` invocations.
async fn after(function: &Function, invocations: usize) -> Vec<Value> {
    metrics_until(function, |lines| {
        lines.iter().map(|line| values(line, "Duration").len()).sum::<usize>() == invocations
    })
    .await
}

fn of_source<'l>(lines: &'l [Value], source: &str) -> Vec<Value> {
    lines.iter().filter(|line: &&'l Value| line["source"] == source).cloned().collect()
}

fn folder(sources: &str) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("sources.toml"), sources).expect("sources.toml");
    folder
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn the_docs_have_every_metric_and_no_other() {
    let names: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(names, described().keys().map(String::as_str).collect());
    for metric in ALL {
        let described = &described()[metric.name];
        assert_eq!(described.unit, metric.unit.name(), "{}", metric.name);
        let by_source = described.dimensions.contains("source");
        assert_eq!(by_source, metric.scope == Scope::Source, "{}", metric.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_counted_by_its_source() {
    let stack = Stack::new().await;
    let folder =
        folder("[shop.csv]\ninvalid_characters = \"replace\"\n[shop.csv.columns]\nid = \"number\"\n");
    let function = stack.function(&[("MILLRACE_PIPELINE", &text(folder.path()))]).await;
    let file = "id,name\n1,a\n2,b\nno number,c\n4,\0\n";
    let shop = stack.aws.put("incoming/shop/orders/a.csv", file).await;
    assert_eq!(function.invoke(&shop, LONG).await.response(), accepted());
    let stranger = stack.aws.put("incoming/stranger/orders/a.csv", "id\n1\n2\n").await;
    assert_eq!(function.invoke(&stranger, LONG).await.response(), accepted());
    let nowhere = stack.aws.put("incoming/nowhere.csv", "id\n1\n").await;
    assert_eq!(function.invoke(&nowhere, LONG).await.response(), accepted());

    let lines = after(&function, 3).await;
    assert_eq!(lines.len(), 3, "a line for each invocation: {lines:#?}");
    let of_shop = of_source(&lines, "shop");
    let counts = |lines: &[Value]| {
        ["FilesLoaded", "FilesFailed", "RowsStaged", "RowsRejected", "RowsRepaired", "FileBytes"]
            .map(|metric| sum(lines, metric))
    };
    assert_eq!(counts(&of_shop), [1.0, 0.0, 3.0, 1.0, 1.0, file.len() as f64]);
    // The other source is not declared. Its name is not a dimension, and its rows count for the function.
    assert!(lines.iter().all(|line| line["source"].is_null() || line["source"] == "shop"), "{lines:#?}");
    assert_eq!(counts(&lines), [2.0, 1.0, 5.0, 1.0, 1.0, (file.len() + 7) as f64]);
    assert_eq!((sum(&lines, "ColdStart"), sum(&lines, "Errors")), (1.0, 0.0));
    assert!(lines[0]["ColdStart"] == 1 && lines.iter().all(|line| line["function"] == "function-under-test"));
    assert!(lines.iter().all(|line| line["request_id"].is_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_stays_in_its_queue_is_an_error_by_kind() {
    let stack = Stack::new().await;
    let event = stack.aws.put("incoming/shop/orders/a.csv", "id\n1\n").await;
    let nobody = "postgresql://millrace_ingest@127.0.0.1:1/x?sslmode=disable";
    let function = stack.function(&[("DATABASE_URL", nobody)]).await;
    let answer = function.invoke(&event, Duration::from_secs(2)).await.response();
    assert_ne!(answer, accepted());
    let lines = after(&function, 1).await;
    assert_eq!((sum(&lines, "Errors"), sum(&lines, "ErrorsTransient")), (1.0, 1.0));
    assert!(sum(&lines, "DatabaseRetries") >= 1.0, "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_turns_metrics_off() {
    let stack = Stack::new().await;
    let function = stack.function(&[("MILLRACE_METRICS", "off")]).await;
    let event = stack.aws.put("incoming/shop/orders/a.csv", "id\n1\n").await;
    assert_eq!(function.invoke(&event, LONG).await.response(), accepted());
    let logged = |function: &Function| function.logs().iter().any(|line| line.contains("file staged"));
    for _ in 0..200 {
        if logged(&function) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert!(logged(&function), "{:?}", function.logs());
    assert!(function.logs().iter().all(|line| !line.contains("_aws")), "{:?}", function.logs());
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_counted_by_outcome() {
    let fixture = webhook::fixture::WebhookFixture::new().await;
    let client = fixture.open(&[]).await;
    client.deliver("orders", "a", r#"{"n":1}"#).await.was(202, "stored");
    client.deliver("orders", "a", r#"{"n":1}"#).await.was(202, "duplicate");
    client.deliver("bearer", "b", r#"{"n":2}"#).await.was(202, "stored");
    let headers = webhook::fixture::signed("orders", "c", b"other");
    assert_eq!(client.post("orders", &headers, b"{}", webhook::client::Form::Plain).await.status, 401);
    assert_eq!(client.post("made-up", &headers, b"{}", webhook::client::Form::Plain).await.status, 404);

    let lines = after(&client.function, 5).await;
    let counts = |lines: &[Value]| {
        ["DeliveriesStored", "DeliveriesDuplicate", "DeliveriesRefused", "EventsStored"]
            .map(|metric| sum(lines, metric))
    };
    assert_eq!(counts(&of_source(&lines, "orders")), [1.0, 1.0, 1.0, 1.0]);
    assert_eq!(counts(&of_source(&lines, "bearer")), [1.0, 0.0, 0.0, 1.0]);
    assert_eq!(counts(&lines), [2.0, 1.0, 2.0, 2.0]);
    assert!(lines.iter().all(|line| line["source"] != "made-up"), "{lines:#?}");
    assert_eq!(sum(&lines, "FlushSize"), 3.0, "one event each, a duplicate as well");
    assert!(sum(&lines, "FlushDuration") > 0.0 && sum(&lines, "Errors") == 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_deliveries_share_metric_lines_and_all_are_counted() {
    let fixture = webhook::fixture::WebhookFixture::new().await;
    let client = fixture.open(&[]).await;
    client.deliver("orders", "first", "{}").await.was(202, "stored");
    let count = 64;
    let deliveries: Vec<(String, String)> =
        (0..count).map(|n| (format!("id-{n}"), format!("{{\"n\":{n}}}"))).collect();
    // One flush waits while the other deliveries gather, so that they finish together.
    let block = fixture.block().await;
    let posted = join_all(deliveries.iter().map(|(id, body)| client.deliver("orders", id, body)));
    let (replies, ()) = tokio::join!(posted, async {
        fixture.until_blocked().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        block.batch_execute("commit").await.expect("release");
    });
    for reply in replies {
        reply.was(202, "stored");
    }
    let lines = after(&client.function, count + 1).await;
    for metric in ["DeliveriesStored", "EventsStored", "FlushSize"] {
        assert_eq!(sum(&lines, metric), (count + 1) as f64, "{metric}");
    }
    assert!(lines.len() < count / 2, "{} lines", lines.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_without_a_database_is_queued_and_an_error() {
    let fixture = webhook::fixture::WebhookFixture::new().await;
    let nobody = "postgresql://millrace_ingest@127.0.0.1:1/x?sslmode=disable";
    let settings = [("DATABASE_URL", nobody), ("MILLRACE_DATABASE_TIMEOUT", "300 ms")];
    let client = fixture.open(&settings).await;
    client.deliver("orders", "a", r#"{"n":1}"#).await.was(202, "queued");
    let mut nowhere = settings.to_vec();
    nowhere.push(("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:1"));
    let lost = fixture.open(&nowhere).await;
    assert_eq!(lost.deliver("orders", "a", r#"{"n":1}"#).await.status, 503);

    let lines = after(&client.function, 1).await;
    assert_eq!((sum(&lines, "DeliveriesQueued"), sum(&lines, "DeliveriesTurnedAway")), (1.0, 0.0));
    assert_eq!((sum(&lines, "Errors"), sum(&lines, "ErrorsTransient")), (1.0, 1.0));
    assert!(sum(&lines, "DatabaseRetries") >= 1.0);
    let lines = after(&lost.function, 1).await;
    assert_eq!((sum(&lines, "DeliveriesQueued"), sum(&lines, "DeliveriesTurnedAway")), (0.0, 1.0));
    assert_eq!(sum(&lines, "Errors"), 2.0, "the database, then the queue");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_counted_by_its_source_with_its_lag() {
    let days = "-- kind = \"materialized_view\"\n-- key = [\"note\"]
select note, count(*) as orders from orders group by note";
    let fixture = TransformFixture::new(&[("orders", ORDERS), ("days", days)]).await;
    fixture.orders(&[(1, "1", "a"), (2, "free", "b"), (3, "3", "c")]).await;
    fixture.run("insert into raw_events (source, event_type, payload) values ('stranger', 'x', '{}')").await;
    let mut variables = fixture.aws.variables(&fixture.database.url_for("millrace_transform"));
    variables.push(("MILLRACE_PIPELINE".into(), text(fixture.pipeline.path())));
    let function = Function::spawn(&binary("transform"), &variables).await;
    function.invoke(&json!({}), LONG).await.response();
    let lines = after(&function, 1).await;
    let counts = |lines: &[Value]| {
        ["Claims", "EventsProcessed", "EventsQuarantined", "EventsUnmodelled", "FactsWritten"]
            .map(|metric| sum(lines, metric))
    };
    assert_eq!(counts(&of_source(&lines, "shop")), [1.0, 3.0, 1.0, 0.0, 2.0]);
    // No model takes this event. It counts for the function.
    assert_eq!(counts(&lines), [2.0, 4.0, 1.0, 1.0, 2.0]);
    assert!(lines.iter().all(|line| line["source"] != "stranger"), "{lines:#?}");
    let lag = sum(&of_source(&lines, "shop"), "TransformLag");
    assert!(lag > 0.0 && lag < 600.0, "{lag} s");
    let wrong = ["RoutesWaiting", "ModelsStopped", "Errors"].map(|metric| sum(&lines, metric));
    assert_eq!(wrong, [0.0, 0.0, 0.0]);

    // The first run created and filled the view. This change invalidates it.
    fixture.orders(&[(4, "4", "d")]).await;
    fixture.transformed().await;
    let function = Function::spawn(&binary("refresh"), &variables).await;
    function.invoke(&json!({}), LONG).await.response();
    let lines = after(&function, 1).await;
    assert_eq!(
        (sum(&lines, "ViewsRefreshed"), sum(&lines, "ViewsFailed")),
        (1.0, 0.0),
        "{:#?}",
        function.logs()
    );
    assert!(sum(&lines, "ViewDuration") > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_wait_are_an_error_of_configuration() {
    let fixture = TransformFixture::new(&[("orders", &ORDERS.replace("payload", "no_such_column"))]).await;
    fixture.orders(&[(1, "1", "a")]).await;
    let mut variables = fixture.aws.variables(&fixture.database.url_for("millrace_transform"));
    variables.push(("MILLRACE_PIPELINE".into(), text(fixture.pipeline.path())));
    let function = Function::spawn(&binary("transform"), &variables).await;
    function.invoke(&json!({}), LONG).await;
    let lines = after(&function, 1).await;
    assert_eq!(
        ["Errors", "ErrorsConfig", "RoutesWaiting", "Claims"].map(|metric| sum(&lines, metric)),
        [1.0, 1.0, 1.0, 0.0],
        "{lines:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_whose_file_is_broken_is_counted_where_nothing_else_fails() {
    let fixture =
        TransformFixture::new(&[("days", "-- kind = \"materialized_view\"\nselect 1 as one")]).await;
    let mut variables = fixture.aws.variables(&fixture.database.url_for("millrace_transform"));
    variables.push(("MILLRACE_PIPELINE".into(), text(fixture.pipeline.path())));
    for name in ["transform", "refresh"] {
        let function = Function::spawn(&binary(name), &variables).await;
        function.invoke(&json!({}), LONG).await.response();
        let lines = after(&function, 1).await;
        assert_eq!((sum(&lines, "ModelsStopped"), sum(&lines, "Errors")), (1.0, 0.0), "{name}");
    }
}
