//! A million events, of which a hundred are bad.

use std::collections::BTreeSet;

use super::fixture::{ORDERS, TransformFixture};

#[tokio::test]
async fn of_a_million_events_the_hundred_bad_ones_are_named_and_the_rest_are_facts() {
    let fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
    // The state after ingestion: a hundred batches of ten thousand. An event is bad when its number is 4,711 modulo
    // 10,000.
    fixture.run(
        "insert into staging.batches (batch_id, origin, source, event_type, received_at, read_count, staged_count, payload_bytes)
         select gen_random_uuid(), 'test:' || n, 'shop', 'orders', now() - n * interval '1 second', 10000, 10000, 700000
         from generate_series(1, 100) as n;
         select staging.ensure_partition((now() at time zone 'UTC')::date - 1);
         insert into staging.events (received_at, batch_id, source, event_type, payload)
         select b.received_at, b.batch_id, 'shop', 'orders', jsonb_build_object(
             'order_id', n, 'note', 'note',
             'total', case n % 10000 when 4711 then 'poison ' || n else (n % 1000)::text end
         )
         from staging.batches as b
         cross join lateral generate_series(substr(origin, 6)::bigint * 10000, substr(origin, 6)::bigint * 10000 + 9999) as n",
    )
    .await;
    let summary = fixture.transformed().await;
    assert_eq!((summary.events, summary.quarantined), (1_000_000, 100));
    assert_eq!(fixture.number("select count(*) from facts.orders").await, 999_900);
    fixture.check_counts().await;
    assert_eq!(fixture.number("select sum(quarantined_count)::bigint from staging.batches").await, 100);
    let dead_letters = fixture.dead_letters().await;
    let named: BTreeSet<(i64, String)> = dead_letters
        .iter()
        .map(|dead_letter| {
            (dead_letter.origin.event_id.expect("the event's id"), dead_letter.reason.message.clone())
        })
        .collect();
    let bad = fixture
        .owner
        .query("select id, payload->>'total' from staging.events where payload->>'total' like 'poison%'", &[])
        .await
        .expect("read the bad ones");
    let expected: BTreeSet<(i64, String)> = bad
        .iter()
        .map(|row| {
            (row.get(0), format!("invalid input syntax for type numeric: \"{}\"", row.get::<_, &str>(1)))
        })
        .collect();
    assert_eq!((dead_letters.len(), named), (100, expected));
}
