//! Events that a model cannot take: found, kept with their reason, counted; everything else goes on.

use millrace::dead_letter::{LetterKind, Payload};

use super::site::{ORDERS, Site};

#[tokio::test]
async fn bad_events_among_many_are_quarantined_one_by_one() {
    let site = Site::new(&[("orders", ORDERS)]).await;
    site.many_orders(1, 9_000, "5").await;
    site.run(
        "insert into raw_events (source, event_type, payload)
         select 'shop', 'orders', jsonb_build_object('order_id', n, 'total', case when n % 1000 = 7 then 'free' else '1' end)
         from generate_series(10001, 19000) as n",
    )
    .await;
    let summary = site.transformed().await;
    assert_eq!((summary.events, summary.quarantined, summary.rows["orders"]), (18_000, 9, 17_991));
    site.check_orders().await;
    let mut letters = site.letters().await;
    letters.sort_by_key(|letter| letter.origin.event_id);
    assert_eq!(letters.len(), 9);
    let bad = site
        .owner
        .query(
            "select id, batch_id, payload::text from raw_events where payload->>'total' = 'free' order by id",
            &[],
        )
        .await
        .unwrap();
    for (letter, event) in letters.iter().zip(&bad) {
        assert_eq!(letter.kind, LetterKind::Event);
        assert_eq!(letter.origin.event_id, Some(event.get(0)));
        assert_eq!(letter.origin.batch_id, Some(event.get(1)));
        assert_eq!(letter.payload, Payload::raw(event.get::<_, &str>(2).as_bytes()));
        assert_eq!((letter.source.as_deref(), letter.event_type.as_deref()), (Some("shop"), Some("orders")));
        assert_eq!(letter.reason.model.as_deref(), Some("orders"));
        assert_eq!(letter.reason.sqlstate.as_deref(), Some("22P02"));
        assert_eq!(letter.reason.message, "invalid input syntax for type numeric: \"free\"");
    }
    let quarantined = "select sum(quarantined_count)::bigint from staging.batches";
    assert_eq!(site.number(quarantined).await, 9);
}

#[tokio::test]
async fn a_row_test_that_fails_quarantines_and_names_itself() {
    let orders = ORDERS.replace(
        "-- key",
        "-- tests = [\"total >= 0\", \"not_null(total)\", {test = \"note <> 'odd'\", severity = \"warn\"}]\n-- key",
    );
    let site = Site::new(&[("orders", &orders)]).await;
    site.orders(&[(1, "1", "odd"), (2, "-1", "b")]).await;
    site.run(
        "insert into raw_events (source, event_type, payload) values ('shop', 'orders', '{\"order_id\": 3}')",
    )
    .await;
    let summary = site.transformed().await;
    assert_eq!((summary.quarantined, summary.rows["orders"]), (2, 1));
    let mut reasons: Vec<String> =
        site.letters().await.into_iter().map(|letter| letter.reason.message).collect();
    reasons.sort();
    assert_eq!(
        reasons,
        ["the test `\"total\" is not null` of the model failed", "the test `total >= 0` of the model failed"]
    );
    site.check_counts().await;
}

#[tokio::test]
async fn an_event_refused_by_one_model_is_taken_by_another_and_counted_once() {
    let totals = "-- kind = \"fact\"\n-- source = \"shop/*\"\nselect payload->>'total' as total from batch";
    let dates =
        "-- kind = \"fact\"\n-- source = \"shop/orders\"\nselect (payload->>'total')::date as day from batch";
    let site = Site::new(&[("orders", ORDERS), ("totals", totals), ("dates", dates)]).await;
    site.orders(&[(1, "free", "a"), (2, "2", "b")]).await;
    site.orders(&[(3, "2026-01-01", "c")]).await;
    let summary = site.transformed().await;
    assert_eq!(summary.rows["totals"], 3);
    assert_eq!(summary.quarantined, 3, "each event once, though one is refused twice");
    assert_eq!(site.letters().await.len(), 4);
    site.check_counts().await;
}

#[tokio::test]
async fn a_model_that_refuses_most_events_waits_instead_of_flooding_the_queue() {
    let site = Site::new(&[("orders", ORDERS)]).await;
    site.many_orders(1, 150, "free").await;
    site.many_orders(200, 10, "1").await;
    let summary = site.transform().await.expect("a run");
    let waiting = summary.waiting.first().expect("something waits");
    assert!(waiting.reason.contains("refuses more than 50 %"), "{}", waiting.reason);
    assert!(site.letters().await.is_empty());
    site.write("orders", &ORDERS.replace("-- key", "-- max_quarantined_share = 1.0\n-- key"));
    let summary = site.transformed().await;
    assert_eq!((summary.quarantined, summary.rows["orders"]), (150, 10));
    assert_eq!(site.letters().await.len(), 150);
}
