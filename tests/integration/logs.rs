//! The log lines of each function are those of `docs/metrics.md`, field by field.

use millrace::Code;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use millrace::dead_letter::{DeadLetter, DeadLetterKind, Origin, Payload, Reason};
use millrace_tests::runtime_api::{Function, binary};
use serde_json::{Value, json};

use crate::stack::{LONG, Stack, accepted};
use crate::transform::fixture::{ORDERS, TransformFixture};
use crate::webhook;

/// The fields that every line may have.
const COMMON: [&str; 5] = ["timestamp", "level", "message", "target", "span"];

/// The documented fields of a function, by message.
fn described(function: &str) -> BTreeMap<String, BTreeSet<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let text = std::fs::read_to_string(path).expect("docs/metrics.md");
    let section = text.split("\n## Logs\n").nth(1).expect("a section Logs");
    // The table only. An example follows it.
    let section = section.split("```").next().expect("a beginning");
    let quoted =
        |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<String>>();
    let mut of = String::new();
    let mut messages = BTreeMap::new();
    for line in section.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, _, message, fields] = cells.as_slice() else { panic!("four cells in {line}") };
        if !name.is_empty() {
            of = (*name).to_owned();
        }
        if of == function {
            let message = message.trim_matches('`').to_owned();
            messages.insert(message, quoted(fields));
        }
    }
    assert!(!messages.is_empty(), "docs/metrics.md says nothing of the lines of {function}");
    messages
}

/// Waits for a line of each documented message, and compares the fields of all.
async fn check(function: &Function, name: &str) {
    let described = described(name);
    let mut seen = BTreeSet::new();
    for _ in 0..200 {
        let lines: Vec<Value> =
            function.logs().iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        for line in lines.iter().filter(|line| line["_aws"].is_null()) {
            let message = line["message"].as_str().expect("a message");
            if !line["span"].is_null() {
                assert!(line["span"]["request_id"].is_string(), "{name}: {line}");
            }
            let Some(fields) = described.get(message) else { continue };
            let has: BTreeSet<String> = line.as_object().expect("an object").keys().cloned().collect();
            let own: BTreeSet<String> =
                has.into_iter().filter(|field| !COMMON.contains(&field.as_str())).collect();
            assert_eq!(&own, fields, "{name}: {line}");
            seen.insert(message.to_owned());
        }
        if seen.len() == described.len() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{name}: of {:?} there are {seen:?}", described.keys());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_has_a_line_for_each_batch_and_one_for_itself() {
    let stack = Stack::new().await;
    let function = stack.function(&[]).await;
    let event = stack.aws.put("incoming/shop/orders/a.csv", "id\n1\n2\n").await;
    assert_eq!(function.invoke(&event, LONG).await.response(), accepted());
    check(&function, "ingest-csv").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_has_a_line_and_so_has_its_flush() {
    let fixture = webhook::fixture::WebhookFixture::new().await;
    let client = fixture.open(&[]).await;
    client.deliver("orders", "a", r#"{"n":1}"#).await.was(202, "stored");
    check(&client.function, "ingest-webhook").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redriven_and_archived_dead_letters_are_logged_and_counted() {
    let fixture = TransformFixture::new(&[]).await;
    let mut variables = fixture.aws.variables(&fixture.database.url_for("millrace_transform"));
    for name in ["INGEST_CSV", "INGEST_WEBHOOK", "TRANSFORM"] {
        variables.push((format!("MILLRACE_{name}_FUNCTION"), "nobody".to_owned()));
    }
    let function = Function::spawn(&binary("redrive"), &variables).await;
    // No redrive target exists: the dead letter stays.
    let (reason, origin) = (Reason::new(Code::WrongType, "not a number"), Origin::default());
    let dead_letter = DeadLetter::new(
        DeadLetterKind::Rows,
        "o",
        Some("shop"),
        Some("orders"),
        reason,
        origin,
        Payload::raw(b"1"),
    );
    fixture.dead_letter_queue().send(&[dead_letter]).await.expect("send a dead letter");
    for event in
        [json!({"action": "redrive", "filter": {}}), json!({"action": "archive", "older_than_days": 12})]
    {
        function.invoke(&event, LONG).await.response();
    }
    check(&function, "redrive").await;
    for _ in 0..200 {
        if function.metrics().len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    for metric in ["DeadLettersRedriven", "DeadLettersFailed", "DeadLettersArchived"] {
        let count = function.metrics().iter().filter(|line| line[metric] == 0).count();
        assert_eq!(count, 1, "{metric}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_and_a_refresh_have_a_line_each() {
    let by_note = "-- kind = \"materialized_view\"\n-- key = [\"note\"]
select note, count(*) as orders from orders group by note";
    let fixture = TransformFixture::new(&[("orders", ORDERS), ("orders_by_note", by_note)]).await;
    fixture.orders(&[(1, "1", "a")]).await;
    fixture.transformed().await;
    fixture.orders(&[(2, "2", "b")]).await;
    let mut variables = fixture.aws.variables(&fixture.database.url_for("millrace_transform"));
    variables.push(("MILLRACE_PIPELINE".into(), fixture.pipeline.path().display().to_string()));
    for name in ["transform", "refresh"] {
        let function = Function::spawn(&binary(name), &variables).await;
        function.invoke(&json!({}), LONG).await.response();
        check(&function, name).await;
    }
}
