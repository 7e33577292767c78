//! Superseded files: their facts are retracted, and facts that they had covered are restored.

use super::fixture::{ORDERS, TransformFixture};

/// Marks the batches of the newest event of an order as superseded, as `finish_load` does.
async fn supersede(fixture: &TransformFixture, note: &str) {
    fixture
        .run(&format!(
            "update staging.batches set superseded_at = now()
         where batch_id in (select batch_id from staging.events where payload->>'note' = '{note}')"
        ))
        .await;
}

#[tokio::test]
async fn the_facts_of_a_superseded_version_are_retracted() {
    let fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
    fixture.orders(&[(1, "1", "old"), (2, "1", "old"), (3, "1", "old")]).await;
    fixture.transformed().await;
    fixture.orders(&[(1, "2", "new"), (2, "2", "new")]).await;
    supersede(&fixture, "old").await;
    fixture.transformed().await;
    assert_eq!(fixture.facts().await.keys().copied().collect::<Vec<_>>(), [1, 2]);
    fixture.check_orders().await;
    assert_eq!(fixture.transformed().await.retracted, 0, "once");
}

#[tokio::test]
async fn the_fact_that_a_superseded_event_covered_is_restored() {
    let fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
    fixture.orders(&[(1, "1", "kept"), (9, "oops", "kept too")]).await;
    fixture.orders(&[(1, "2", "replaced"), (2, "2", "replaced")]).await;
    fixture.transformed().await;
    assert_eq!(fixture.facts().await[&1].1, "replaced");
    supersede(&fixture, "replaced").await;
    let summary = fixture.transformed().await;
    assert_eq!(summary.retracted, 1);
    assert_eq!(fixture.facts().await[&1].1, "kept");
    fixture.check_orders().await;
    assert_eq!(fixture.dead_letters().await.len(), 1, "the refused event has its dead letter already");
}

#[tokio::test]
async fn a_batch_replaced_before_it_was_transformed_makes_no_facts() {
    let fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
    fixture.orders(&[(1, "1", "gone")]).await;
    supersede(&fixture, "gone").await;
    let summary = fixture.transformed().await;
    assert_eq!((summary.events, summary.unmodelled, summary.retracted), (1, 1, 0));
    assert!(fixture.facts().await.is_empty());
    fixture.check_counts().await;
}

#[tokio::test]
async fn facts_without_a_key_are_retracted_too() {
    let lines = "-- kind = \"fact\"\n-- source = \"shop/orders\"\nselect payload->>'note' as note from batch, generate_series(1, 2)";
    let fixture = TransformFixture::new(&[("lines", lines)]).await;
    fixture.orders(&[(1, "1", "old")]).await;
    fixture.orders(&[(1, "1", "new")]).await;
    fixture.transformed().await;
    supersede(&fixture, "old").await;
    fixture.transformed().await;
    assert_eq!(fixture.number("select count(*) from facts.lines where note = 'new'").await, 2);
    assert_eq!(fixture.number("select count(*) from facts.lines").await, 2);
}

#[tokio::test]
async fn a_failed_retraction_holds_back_only_its_own_source() {
    let refunds =
        "-- kind = \"fact\"\n-- source = \"shop/refunds\"\nselect payload->>'note' as note from batch";
    let fixture = TransformFixture::new(&[("orders", ORDERS), ("refunds", refunds)]).await;
    let refund = |note: &str| {
        format!(
            "insert into raw_events (source, event_type, payload) values ('shop', 'refunds', '{{\"note\": \"{note}\"}}')"
        )
    };
    fixture.orders(&[(1, "1", "old")]).await;
    fixture.run(&refund("old")).await;
    fixture.transformed().await;
    fixture
        .run(
            "create function public.keep() returns trigger language plpgsql as $$
         begin raise feature_not_supported using message = 'orders are never deleted'; end $$;
         create trigger keep before delete on facts.orders for each row execute function public.keep()",
        )
        .await;
    supersede(&fixture, "old").await;
    fixture.orders(&[(1, "2", "new")]).await;
    fixture.run(&refund("new")).await;
    let summary = fixture.transform().await.expect("a run");
    assert_eq!(summary.retracted, 1, "the refund's");
    let waiting: Vec<_> = summary.waiting.iter().collect();
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    assert_eq!(waiting[0].event_type, "orders");
    assert!(waiting[0].reason.contains("orders are never deleted"), "{}", waiting[0].reason);
    assert_eq!(fixture.number("select count(*) from facts.refunds where note = 'new'").await, 1);
    assert_eq!(fixture.number("select count(*) from facts.refunds").await, 1);
    let failed = "select count(*) from pipeline.runs where model = 'orders' and outcome = 'failed'";
    assert_eq!(fixture.number(failed).await, 1);
    fixture.run("drop trigger keep on facts.orders").await;
    assert_eq!(fixture.transformed().await.retracted, 1);
    fixture.check_orders().await;
}
