//! A refresh run over all derived relations: what it records, and what it does not change.

use std::time::Duration;

use millrace::database::Settings;
use millrace::database::listener::listen;
use millrace_tests::runtime_api::{Function, binary};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::shop::{DAYS, ORDERS, Shop};

const MONTHS: &str = "-- kind = \"rollup\"
-- key = [\"month\"]
-- bucket = \"month\"
select date_trunc('month', day) as month, sum(orders) as orders
from days
group by month";

#[tokio::test]
async fn a_run_is_recorded_and_the_next_has_nothing_to_do() {
    let shop = Shop::new(&[("orders", ORDERS), ("days", DAYS)]).await;
    shop.orders("(1, 'ann', 1, timestamptz '2024-03-01Z'), (2, 'bob', 1, '2024-03-01Z')").await;
    let summary = shop.refresh().await;
    assert_eq!(summary.refreshed["days"], 2);
    let recorded = "select count(*) from pipeline.runs
        where model = 'days' and activity = 'refresh' and outcome = 'ok' and row_count = 2";
    assert_eq!(shop.number(recorded).await, 1);
    let summary = shop.refresh().await;
    assert!(summary.unchanged.contains("days"));
    assert_eq!(shop.number("select count(*) from pipeline.runs").await, 1);
}

#[tokio::test]
async fn a_failed_refresh_skips_its_dependants_and_the_others_run() {
    let other =
        DAYS.replace("date_trunc('day', ordered_at) as day, customer", "customer as day, 0 as customer");
    let shop = Shop::new(&[("orders", ORDERS), ("days", DAYS), ("months", MONTHS), ("other", &other)]).await;
    shop.orders("(1, 'ann', 1, timestamptz '2024-03-01Z')").await;
    shop.refreshed().await;
    shop.run("alter table facts.days add constraint no_bob check (customer <> 'bob')").await;
    shop.orders("(2, 'bob', 1, timestamptz '2024-03-01Z')").await;
    let summary = shop.refresh().await;
    assert_eq!(summary.failed.keys().collect::<Vec<_>>(), ["days"]);
    assert!(summary.skipped["months"].contains("days"));
    assert!(summary.refreshed.contains_key("other"));
    assert!(summary.failure().expect("a failure").chain().contains("days"));
    let recorded = |outcome: &str, model: &str| {
        format!(
            "select count(*) from pipeline.runs where outcome = '{outcome}' and model = '{model}' and detail <> ''"
        )
    };
    assert_eq!(shop.number(&recorded("failed", "days")).await, 1);
    assert_eq!(shop.number(&recorded("skipped", "months")).await, 1);
    // The invalidation is kept.
    shop.run("alter table facts.days drop constraint no_bob").await;
    assert_eq!(shop.refreshed().await, ["days", "months"]);
    shop.check("days").await;
    shop.check("months").await;
}

#[tokio::test]
async fn a_held_lock_fails_one_refresh_and_not_the_run() {
    let other =
        DAYS.replace("date_trunc('day', ordered_at) as day, customer", "customer as day, 0 as customer");
    let shop = Shop::new(&[("orders", ORDERS), ("days", DAYS), ("other", &other)]).await;
    shop.orders("(1, 'ann', 1, timestamptz '2024-03-01Z')").await;
    let holder = shop.database.owner().await;
    holder.batch_execute("begin; lock table facts.days in share mode").await.expect("lock");
    let summary = shop.refresh().await;
    assert!(summary.failed["days"].contains("lock timeout"), "{summary:?}");
    assert!(summary.refreshed.contains_key("other"));
    holder.batch_execute("rollback").await.expect("unlock");
    assert_eq!(shop.refreshed().await, ["days"]);
}

#[tokio::test]
async fn two_runs_do_not_refresh_the_same_relation() {
    let shop = Shop::new(&[("orders", ORDERS), ("days", DAYS)]).await;
    let holder = shop.database.owner().await;
    holder
        .batch_execute("begin; select pg_advisory_xact_lock(hashtextextended('millrace.refresh.days', 0))")
        .await
        .expect("lock");
    let summary = shop.refresh().await;
    assert!(summary.skipped.contains_key("days"), "{summary:?}");
    holder.batch_execute("rollback").await.expect("unlock");
    assert_eq!(shop.refreshed().await, ["days"]);
}

#[tokio::test]
async fn a_refresh_is_notified_when_it_commits() {
    let shop = Shop::new(&[("orders", ORDERS), ("days", DAYS)]).await;
    shop.orders("(1, 'ann', 1, timestamptz '2024-03-01Z')").await;
    let settings = Settings::parse(&shop.database.url()).expect("a connection string");
    let (ready, listening) = oneshot::channel();
    let (heard, mut messages) = mpsc::unbounded_channel();
    let listener = tokio::spawn(async move {
        let ready = || ready.send(()).expect("somebody waits");
        listen(&settings, "millrace", ready, |text| heard.send(text.to_owned()).expect("somebody hears"))
            .await
    });
    listening.await.expect("it listens");
    shop.refreshed().await;
    let message = tokio::time::timeout(Duration::from_secs(20), messages.recv()).await.expect("in time");
    let message: serde_json::Value = serde_json::from_str(&message.expect("a message")).expect("JSON");
    assert_eq!(message, json!({"kind": "refresh", "model": "days", "rows": 1}));
    listener.abort();
}

#[tokio::test]
async fn the_function_refreshes_and_answers_with_what_it_did() {
    let shop = Shop::new(&[("orders", ORDERS), ("days", DAYS)]).await;
    shop.orders("(1, 'ann', 1, timestamptz '2024-03-01Z')").await;
    let folder = shop.folder();
    let variables = vec![
        ("DATABASE_URL".to_owned(), shop.database.url_for("millrace_transform")),
        ("MILLRACE_PIPELINE".to_owned(), folder.path().display().to_string()),
    ];
    let function = Function::spawn(&binary("refresh"), &variables).await;
    let answer = function.invoke(&json!({}), Duration::from_secs(60)).await.response();
    assert_eq!(answer["refreshed"], json!({"days": 1}));
    shop.check("days").await;
    let answer = function.invoke(&json!({}), Duration::from_secs(60)).await.response();
    assert_eq!(answer["unchanged"], json!(["days"]));
}
