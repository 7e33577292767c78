//! Which events stay unprocessed when a model is broken, and which are transformed.

use super::fixture::{ORDERS, TransformFixture};

const REFUNDS: &str =
    "-- kind = \"fact\"\n-- source = \"shop/refunds\"\nselect payload->>'id' as refund_id from batch";

async fn one_of_each(fixture: &TransformFixture) {
    fixture.orders(&[(1, "1", "a")]).await;
    fixture.run("insert into raw_events (source, event_type, payload) values ('shop', 'refunds', '{\"id\": \"r\"}'), ('other', 'thing', '{}')").await;
}

#[tokio::test]
async fn events_without_a_model_are_counted_as_such() {
    let fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
    one_of_each(&fixture).await;
    let summary = fixture.transformed().await;
    assert_eq!((summary.events, summary.unmodelled), (3, 2));
    fixture.check_counts().await;
}

#[tokio::test]
async fn a_model_whose_sql_fails_holds_back_only_its_own_events() {
    let broken = "-- kind = \"fact\"\n-- source = \"shop/refunds\"\nselect r.rate\nfrom batch\njoin public.rates as r on true";
    let fixture = TransformFixture::new(&[("orders", ORDERS), ("refunds", broken)]).await;
    one_of_each(&fixture).await;
    let summary = fixture.transform().await.expect("a run");
    assert_eq!(summary.waiting.len(), 1);
    let waiting = summary.waiting.first().unwrap();
    assert_eq!((waiting.source.as_str(), waiting.event_type.as_str()), ("shop", "refunds"));
    assert!(waiting.reason.contains("models/refunds.sql:5: the query"), "{}", waiting.reason);
    assert!(waiting.reason.contains("\"public.rates\" does not exist"), "{}", waiting.reason);
    assert_eq!(fixture.number("select count(*) from raw_events where not processed").await, 1);
    assert_eq!(
        fixture
            .number("select count(*) from pipeline.runs where outcome = 'failed' and model = 'refunds'")
            .await,
        1
    );
    fixture.write("refunds", REFUNDS);
    fixture.transformed().await;
    fixture.check_counts().await;
    assert_eq!(fixture.number("select count(*) from facts.refunds").await, 1);
}

#[tokio::test]
async fn an_invalid_model_file_holds_back_its_events() {
    let fixture =
        TransformFixture::new(&[("orders", ORDERS), ("refunds", &REFUNDS.replace("select", "selct"))]).await;
    one_of_each(&fixture).await;
    let summary = fixture.transform().await.expect("a run");
    assert_eq!(summary.waiting.len(), 1);
    assert_eq!(fixture.facts().await.len(), 1);
    // The header does not show which events the model takes, so no event may be processed.
    fixture.write("refunds", "-- kind = \"fact\n-- source = \"shop/refunds\"\nselect 1 as a from batch");
    fixture.orders(&[(2, "1", "a")]).await;
    let summary = fixture.transform().await.expect("a run");
    assert_eq!(summary.waiting.len(), 2);
    assert_eq!(fixture.facts().await.len(), 1);
}

#[tokio::test]
async fn a_fact_reads_facts_of_before_it() {
    let lines = "-- kind = \"fact\"\n-- source = \"shop/orders\"\n-- key = [\"order_id\"]
select o.order_id, o.total * 2 as double from batch join orders o on o.order_id = (payload->>'order_id')::bigint";
    let fixture = TransformFixture::new(&[("doubles", lines), ("orders", ORDERS)]).await;
    fixture.orders(&[(1, "4", "a")]).await;
    fixture.transformed().await;
    assert_eq!(fixture.number("select double::bigint from facts.doubles").await, 8);
}
