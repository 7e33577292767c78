//! Ends each function at each of its failpoints, one after the other. Nothing may be lost or stored twice.
//!
//! A first run records the failpoints that a function reaches, so a new step of a function is tested without a change
//! here. See [`millrace::failpoint`].

use std::collections::BTreeSet;
use std::path::Path;

use futures_util::stream::{self, StreamExt};
use millrace::dead_letter::DeadLetter;
use millrace_tests::postgres::number;
use millrace_tests::runtime_api::{Function, Outcome, binary};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::models::shop::{self, DAYS, Shop};
use crate::redrive::killed;
use crate::stack::{LONG, Stack, accepted};
use crate::transform::fixture::{ORDERS, TransformFixture};
use crate::webhook::client::{Form, TIME, request};
use crate::webhook::fixture::{WebhookFixture, signed};

/// The number of failpoints that are tried concurrently. Each has a process and a database or an object of its own.
const CONCURRENCY: usize = 4;

/// The failpoints that a function reaches in `run`, which is called with the setting that records them. `steps` must be
/// among them.
async fn record(steps: &[&str], run: impl AsyncFnOnce((&str, &str))) -> Vec<String> {
    let folder = TempDir::new().expect("a folder");
    let log = folder.path().join("failpoints");
    run(("MILLRACE_FAILPOINT_LOG", &log.display().to_string())).await;
    let text = std::fs::read_to_string(log).expect("the function reached failpoints");
    let failpoints: Vec<String> = text.lines().map(str::to_owned).collect();
    for step in steps {
        for moment in ["before", "after"] {
            let name = format!("{step}: {moment} 1");
            assert!(failpoints.contains(&name), "{name} is not among {failpoints:?}");
        }
    }
    failpoints
}

/// The setting that ends a function at `failpoint`.
fn at(failpoint: &str) -> (&str, &str) {
    ("MILLRACE_FAILPOINT", failpoint)
}

/// A function that reads no queue and no bucket, or those of `variables`.
async fn spawn(
    name: &str,
    variables: &[(String, String)],
    pipeline: &Path,
    setting: Option<(&str, &str)>,
) -> Function {
    let pipeline = pipeline.display().to_string();
    let more = [Some(("MILLRACE_PIPELINE", &*pipeline)), setting];
    let more = more.into_iter().flatten().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let variables: Vec<_> = variables.iter().cloned().chain(more).collect();
    Function::spawn(&binary(name), &variables).await
}

/// Invokes a function that ends at its failpoint.
async fn crash(function: Function, event: &Value, failpoint: &str) {
    let outcome = function.invoke(event, LONG).await;
    assert_eq!(outcome, Outcome::Crashed, "the function did not reach {failpoint}");
}

/// The number of dead letters that `is_meant` selects, without copies.
fn count_ids(dead_letters: &[DeadLetter], is_meant: impl Fn(&DeadLetter) -> bool) -> usize {
    dead_letters
        .iter()
        .filter(|letter| is_meant(letter))
        .map(|letter| letter.id)
        .collect::<BTreeSet<_>>()
        .len()
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_csv_ended_at_any_step_stages_a_file_once() {
    let stack = Stack::new().await;
    let settings = [("MILLRACE_CHUNK_ROWS", "100"), ("MILLRACE_COPY_CONNECTIONS", "2")];
    // Three chunks, one record with too many fields, and one that is repaired.
    let rows: String = (0..250).map(|n| format!("{n},name {n}\n")).collect();
    let file = format!("id,name\n{rows}250,a,surplus,fields\n251,\"un\"quoted\n");
    let put = async |event_type: &str| {
        stack.aws.put(&format!("incoming/shop/{event_type}/a.csv"), file.clone().into_bytes()).await
    };
    let steps = ["GetObject", "stage batch", "SendMessageBatch"];
    let failpoints = record(&steps, async |setting| {
        let event = put("recorded").await;
        let function = stack.function(&[&settings[..], &[setting]].concat()).await;
        assert_eq!(function.invoke(&event, LONG).await.response(), accepted());
    })
    .await;
    let mut trials = Vec::new();
    for (number, failpoint) in failpoints.iter().enumerate() {
        // The visibility is set beside the load, which may end first.
        if !failpoint.starts_with("ChangeMessageVisibility: after") {
            trials.push((failpoint, put(&format!("trial-{number}")).await));
        }
    }
    let again = stack.function(&settings).await;
    stream::iter(&trials)
        .for_each_concurrent(CONCURRENCY, async |(failpoint, event)| {
            let function = stack.function(&[&settings[..], &[at(failpoint)]].concat()).await;
            crash(function, event, failpoint).await;
            assert_eq!(again.invoke(event, LONG).await.response(), accepted(), "after {failpoint}");
        })
        .await;
    let query =
        "select event_type, count(*), count(distinct payload->>'id') from raw_events group by event_type";
    let rows = stack.owner.query(query, &[]).await.expect("read raw_events");
    assert_eq!(rows.len(), trials.len() + 1);
    let dead_letters = stack.aws.dead_letters().await;
    for row in rows {
        let event_type: &str = row.get(0);
        assert_eq!((row.get::<_, i64>(1), row.get::<_, i64>(2)), (251, 251), "{event_type}");
        let of_type = |letter: &DeadLetter| letter.event_type.as_deref() == Some(event_type);
        assert_eq!(count_ids(&dead_letters, of_type), 1, "{event_type}");
    }
    let repairs = "select (select count(*) from staging.repairs) - (select sum(repaired_count) from staging.batches)::bigint";
    assert_eq!(number(&stack.owner, repairs).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_webhook_ended_at_any_step_stores_a_delivery_once() {
    let fixture = WebhookFixture::new().await;
    let again = fixture.open(&[]).await;
    // Its second event has a NUL character and becomes a dead letter.
    let body = |n: usize| format!(r#"[{{"n":{n}}},{{"n":{n},"nul":"\u0000"}}]"#);
    // Without PostgreSQL, the whole delivery becomes a dead letter.
    let away = [
        ("DATABASE_URL", "postgres://millrace_ingest@127.0.0.1:9/none"),
        ("MILLRACE_DATABASE_TIMEOUT", "1 s"),
    ];
    let mut count = 0;
    for (settings, steps) in
        [(&[][..], &["store deliveries", "SendMessageBatch"][..]), (&away[..], &["SendMessageBatch"])]
    {
        let failpoints = record(steps, async |setting| {
            let client = fixture.open(&[settings, &[setting]].concat()).await;
            let reply = client.deliver("orders", &format!("id-{count}"), &body(count)).await;
            reply.was(202, if settings.is_empty() { "stored" } else { "queued" });
        })
        .await;
        // How often the connection is tried depends on the time.
        for failpoint in failpoints.iter().filter(|failpoint| failpoint.ends_with(" 1")) {
            count += 1;
            let client = fixture.open(&[settings, &[at(failpoint)]].concat()).await;
            let (id, body) = (format!("id-{count}"), body(count));
            let headers = signed("orders", &id, body.as_bytes());
            let event = request("POST", "/webhooks/orders", &headers, body.as_bytes(), Form::Plain);
            assert_eq!(client.try_send(&event, TIME).await, None, "the function did not reach {failpoint}");
            // The sender received no answer and repeats the delivery.
            let reply = again.deliver("orders", &id, &body).await;
            assert_eq!(reply.status, 202, "after {failpoint}: {reply:?}");
        }
        count += 1;
    }
    // The delivery that was recorded without PostgreSQL is in the queue only.
    let queued = fixture.number("select count(*) from staging.deliveries").await;
    assert_eq!(fixture.counted().await.len() as i64, queued);
    assert!(fixture.counted().await.values().all(|count| *count == 1), "{:?}", fixture.counted().await);
    assert_eq!(queued as usize + 1, count, "every other delivery is stored");
    fixture.reconciles().await;
    let dead_letters = fixture.aws.dead_letters().await;
    assert_eq!(count_ids(&dead_letters, |letter| letter.origin.record.is_some()), count);
}

#[tokio::test(flavor = "multi_thread")]
async fn transform_ended_at_any_step_writes_facts_once() {
    // Each trial has its own database, because a later run does not deploy the models again.
    let new = async || {
        let fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
        fixture.many_orders(1, 30, "5").await;
        fixture.orders(&[(31, "five", "refused"), (1, "6", "later")]).await;
        fixture
    };
    let run = async |fixture: &TransformFixture, setting: Option<(&str, &str)>| {
        let variables = fixture.aws.variables(&fixture.database.url_for("millrace_transform"));
        spawn("transform", &variables, fixture.pipeline.path(), setting).await
    };
    let check = async |fixture: &TransformFixture, after: &str| {
        fixture.check_orders().await;
        assert_eq!(fixture.number("select count(*) from facts.orders").await, 30, "{after}");
        assert_eq!(fixture.number("select count(*) from pipeline.quarantine").await, 1, "{after}");
        assert_eq!(count_ids(&fixture.dead_letters().await, |_| true), 1, "{after}");
    };
    let failpoints = record(&["transform", "SendMessageBatch"], async |setting| {
        let fixture = new().await;
        run(&fixture, Some(setting)).await.invoke(&json!({}), LONG).await.response();
        check(&fixture, "the recorded run").await;
    })
    .await;
    stream::iter(&failpoints)
        .for_each_concurrent(CONCURRENCY, async |failpoint| {
            let fixture = new().await;
            crash(run(&fixture, Some(at(failpoint))).await, &json!({}), failpoint).await;
            run(&fixture, None).await.invoke(&json!({}), LONG).await.response();
            check(&fixture, failpoint).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_ended_at_any_step_leaves_nothing_stale() {
    let totals = "-- kind = \"materialized_view\"\n-- key = [\"customer\"]\nselect customer, sum(total) as total from orders group by customer";
    let shop = Shop::new(&[("orders", shop::ORDERS), ("days", DAYS), ("totals", totals)]).await;
    let folder = shop.folder();
    let variables = [("DATABASE_URL".to_owned(), shop.database.url_for("millrace_transform"))];
    let change = async |n: usize| shop.orders(&format!("({n}, 'ann', {n}, timestamptz '2024-03-01Z')")).await;
    let failpoints = record(&["read the derived relations"], async |setting| {
        change(1).await;
        let function = spawn("refresh", &variables, folder.path(), Some(setting)).await;
        function.invoke(&json!({}), LONG).await.response();
    })
    .await;
    for (number, failpoint) in failpoints.iter().enumerate() {
        change(2 + number).await;
        let function = spawn("refresh", &variables, folder.path(), Some(at(failpoint))).await;
        crash(function, &json!({}), failpoint).await;
        let function = spawn("refresh", &variables, folder.path(), None).await;
        function.invoke(&json!({}), LONG).await.response();
        shop.check("days").await;
        shop.check("totals").await;
    }
    assert_eq!(shop.number("select count(*) from pipeline.invalidations").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn redrive_ended_at_any_step_repeats_nothing() {
    let event = json!({ "action": "redrive", "filter": {} });
    let failpoints = record(&["ReceiveMessage", "Invoke", "DeleteMessageBatch"], async |setting| {
        let (fixture, _) = killed::with_dead_letters().await;
        fixture.redriver(&[setting]).await.invoke(&event, LONG).await.response();
    })
    .await;
    // The number of receives depends on how many messages each returns.
    let failpoints: Vec<_> =
        failpoints.iter().filter(|name| name.ends_with(" 1") || name.ends_with(" 2")).collect();
    let (fixture, dead_letters) = killed::with_dead_letters().await;
    let mut crashes = 0;
    for failpoint in &failpoints {
        // Messages that the last process had received are hidden. SQS may deliver any dead letter again.
        fixture.repeat(&dead_letters[..40]).await;
        let outcome = fixture.redriver(&[at(failpoint)]).await.invoke(&event, LONG).await;
        crashes += usize::from(outcome == Outcome::Crashed);
    }
    assert!(crashes + 2 >= failpoints.len(), "{crashes} crashes at {failpoints:?}");
    killed::is_complete(&fixture).await;
}
