//! Facts equal those of a single pass over raw_events, after any sequence of faults.

use std::time::Duration;

use futures_util::future::join_all;
use millrace_models::transform::ClaimBounds;

use super::fixture::{ORDERS, TransformFixture};

#[tokio::test]
async fn events_become_facts_once() {
    let fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
    fixture.orders(&[(1, "10.50", "a"), (2, "20", "b")]).await;
    let summary = fixture.transformed().await;
    assert_eq!((summary.claims, summary.events, summary.rows["orders"]), (1, 2, 2));
    assert_eq!(fixture.transformed().await.claims, 0, "nothing is left");
    assert_eq!(fixture.number("select count(*) from raw_events where processed").await, 2);
    assert_eq!(fixture.number("select count(*) from facts.orders where total = 10.50").await, 1);
    fixture.check_orders().await;
    let provenance = "select count(*) from facts.orders o
         join raw_events e on e.id = o._event_id and e.received_at = o._received_at
         where (e.payload->>'order_id')::bigint = o.order_id";
    assert_eq!(fixture.number(provenance).await, 2);
}

#[tokio::test]
async fn of_one_key_the_later_event_wins_in_a_batch_and_across_batches() {
    let fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
    fixture.orders(&[(1, "1", "first"), (1, "2", "second"), (2, "5", "only")]).await;
    fixture.transformed().await;
    assert_eq!(fixture.facts().await[&1], ("2.00".into(), "second".into()));
    fixture.orders(&[(1, "3", "third")]).await;
    fixture.transformed().await;
    assert_eq!(fixture.facts().await[&1], ("3.00".into(), "third".into()));
    fixture.check_orders().await;
}

#[tokio::test]
async fn a_model_that_keeps_the_first_event_ignores_later_ones() {
    let orders = ORDERS.replace("-- key", "-- on_conflict = \"ignore\"\n-- key");
    let fixture = TransformFixture::new(&[("orders", &orders)]).await;
    fixture.orders(&[(1, "1", "first"), (1, "2", "second")]).await;
    fixture.transformed().await;
    fixture.orders(&[(1, "3", "third")]).await;
    fixture.transformed().await;
    assert_eq!(fixture.facts().await[&1], ("1.00".into(), "first".into()));
}

#[tokio::test]
async fn a_batch_that_commits_late_is_transformed_and_does_not_win() {
    let fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
    let late = fixture.database.owner().await;
    late.batch_execute(
        "begin; insert into raw_events (source, event_type, payload)
         values ('shop', 'orders', '{\"order_id\": 1, \"total\": \"1\", \"note\": \"early, committed late\"}'),
                ('shop', 'orders', '{\"order_id\": 7, \"total\": \"7\"}')",
    )
    .await
    .unwrap();
    fixture.orders(&[(1, "2", "later")]).await;
    fixture.transformed().await;
    late.batch_execute("commit").await.unwrap();
    fixture.transformed().await;
    let facts = fixture.facts().await;
    assert_eq!(facts[&1].1, "later");
    assert_eq!(facts.len(), 2);
    fixture.check_orders().await;
}

#[tokio::test]
async fn four_concurrent_workers_make_the_same_facts_as_one() {
    let mut fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
    fixture.bounds = ClaimBounds { events: 400, ..ClaimBounds::default() };
    // Every batch has keys of the others, in both directions.
    for batch in 0..24 {
        fixture.run(&format!(
            "insert into raw_events (source, event_type, payload)
             select 'shop', 'orders', jsonb_build_object('order_id', (n * 7 + {batch}) % 500, 'total', '{batch}', 'note', n || '')
             from generate_series(1, 300) as n order by case when {batch} % 2 = 0 then n else -n end"
        ))
        .await;
    }
    let summaries = join_all((0..4).map(|_| fixture.transformed())).await;
    assert_eq!(summaries.iter().map(|summary| summary.events).sum::<u64>(), 24 * 300);
    fixture.check_orders().await;
}

#[tokio::test]
async fn a_deadlock_is_retried() {
    let fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
    fixture.orders(&[(1, "1", "a"), (2, "1", "a")]).await;
    fixture.transformed().await;
    fixture.orders(&[(1, "2", "b"), (2, "2", "b")]).await;
    // Takes locks in the opposite order of a claim: key 2, then key 1.
    let mut other = fixture.database.owner().await;
    let transaction = other.transaction().await.unwrap();
    transaction
        .batch_execute("set deadlock_timeout = '20s'; select from facts.orders where order_id = 2 for update")
        .await
        .unwrap();
    let (summary, ()) = tokio::join!(fixture.transformed(), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        transaction.batch_execute("select from facts.orders where order_id = 1 for update").await.unwrap();
        transaction.commit().await.unwrap();
    });
    assert_eq!(summary.rows["orders"], 2);
    fixture.check_orders().await;
}
