//! Events that a model refuses are found, quarantined with their reason, and counted. All other events are transformed.

use millrace::dead_letter::{DeadLetterKind, Payload};

use super::fixture::{ORDERS, TransformFixture};

#[tokio::test]
async fn bad_events_among_many_are_quarantined_one_by_one() {
    let fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
    fixture.many_orders(1, 9_000, "5").await;
    fixture.run(
        "insert into raw_events (source, event_type, payload)
         select 'shop', 'orders', jsonb_build_object('order_id', n, 'total', case when n % 1000 = 7 then 'free' else '1' end)
         from generate_series(10001, 19000) as n",
    )
    .await;
    let summary = fixture.transformed().await;
    assert_eq!((summary.events, summary.quarantined, summary.rows["orders"]), (18_000, 9, 17_991));
    fixture.check_orders().await;
    let mut dead_letters = fixture.dead_letters().await;
    dead_letters.sort_by_key(|dead_letter| dead_letter.origin.event_id);
    assert_eq!(dead_letters.len(), 9);
    let bad = fixture
        .owner
        .query(
            "select id, batch_id, payload::text from raw_events where payload->>'total' = 'free' order by id",
            &[],
        )
        .await
        .unwrap();
    for (dead_letter, event) in dead_letters.iter().zip(&bad) {
        assert_eq!(dead_letter.kind, DeadLetterKind::Event);
        assert_eq!(dead_letter.origin.event_id, Some(event.get(0)));
        assert_eq!(dead_letter.origin.batch_id, Some(event.get(1)));
        assert_eq!(dead_letter.payload, Payload::raw(event.get::<_, &str>(2).as_bytes()));
        assert_eq!(
            (dead_letter.source.as_deref(), dead_letter.event_type.as_deref()),
            (Some("shop"), Some("orders"))
        );
        assert_eq!(dead_letter.reason.model.as_deref(), Some("orders"));
        assert_eq!(dead_letter.reason.sqlstate.as_deref(), Some("22P02"));
        assert_eq!(dead_letter.reason.message, "invalid input syntax for type numeric: \"free\"");
    }
    let quarantined = "select sum(quarantined_count)::bigint from staging.batches";
    assert_eq!(fixture.number(quarantined).await, 9);
}

#[tokio::test]
async fn a_row_test_that_fails_quarantines_and_names_itself() {
    let orders = ORDERS.replace(
        "-- key",
        "-- tests = [\"total >= 0\", \"not_null(total)\", {test = \"note <> 'odd'\", severity = \"warn\"}]\n-- key",
    );
    let fixture = TransformFixture::new(&[("orders", &orders)]).await;
    fixture.orders(&[(1, "1", "odd"), (2, "-1", "b")]).await;
    fixture.run(
        "insert into raw_events (source, event_type, payload) values ('shop', 'orders', '{\"order_id\": 3}')",
    )
    .await;
    let summary = fixture.transformed().await;
    assert_eq!((summary.quarantined, summary.rows["orders"]), (2, 1));
    let mut reasons: Vec<String> =
        fixture.dead_letters().await.into_iter().map(|dead_letter| dead_letter.reason.message).collect();
    reasons.sort();
    assert_eq!(
        reasons,
        ["the test `\"total\" is not null` of the model failed", "the test `total >= 0` of the model failed"]
    );
    fixture.check_counts().await;
}

#[tokio::test]
async fn an_event_refused_by_one_model_is_taken_by_another_and_counted_once() {
    let totals = "-- kind = \"fact\"\n-- source = \"shop/*\"\nselect payload->>'total' as total from batch";
    let dates =
        "-- kind = \"fact\"\n-- source = \"shop/orders\"\nselect (payload->>'total')::date as day from batch";
    let fixture = TransformFixture::new(&[("orders", ORDERS), ("totals", totals), ("dates", dates)]).await;
    fixture.orders(&[(1, "free", "a"), (2, "2", "b")]).await;
    fixture.orders(&[(3, "2026-01-01", "c")]).await;
    let summary = fixture.transformed().await;
    assert_eq!(summary.rows["totals"], 3);
    assert_eq!(summary.quarantined, 3, "each event once, though one is refused twice");
    assert_eq!(fixture.dead_letters().await.len(), 4);
    fixture.check_counts().await;
}

#[tokio::test]
async fn a_model_that_refuses_most_events_waits_instead_of_flooding_the_queue() {
    let fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
    fixture.many_orders(1, 150, "free").await;
    fixture.many_orders(200, 10, "1").await;
    let summary = fixture.transform().await.expect("a run");
    let waiting = summary.waiting.first().expect("something waits");
    assert!(waiting.reason.contains("refuses more than 50 %"), "{}", waiting.reason);
    assert!(fixture.dead_letters().await.is_empty());
    fixture.write("orders", &ORDERS.replace("-- key", "-- max_quarantined_share = 1.0\n-- key"));
    let summary = fixture.transformed().await;
    assert_eq!((summary.quarantined, summary.rows["orders"]), (150, 10));
    assert_eq!(fixture.dead_letters().await.len(), 150);
}
