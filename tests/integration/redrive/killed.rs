//! Kills the functions to which dead letters are redriven.

use std::time::Duration;

use millrace::dead_letter::DeadLetter;
use serde_json::json;

use super::events::fixed;
use super::fixture::{LAX, RedriveFixture, STRICT};

const ORDERS: &str = "-- kind = \"fact\"
-- source = \"shop/orders\"
select (payload->>'id')::bigint as id, (payload->>'total')::numeric as total from batch";

/// 60 records that are not of their type, and 60 events that the model refused.
pub async fn with_dead_letters() -> (RedriveFixture, Vec<DeadLetter>) {
    let fixture = RedriveFixture::new(STRICT, &[("orders", ORDERS)]).await;
    let rows: String = (0..60).map(|id| format!("{id},bad\n")).collect();
    fixture.load("incoming/shop/orders/a.csv", &format!("id,total\n{rows}")).await;
    let events = "insert into raw_events (source, event_type, payload)
        select 'shop', 'orders', jsonb_build_object('id', n, 'total', 'bad') from generate_series(100, 159) as n";
    fixture.owner.batch_execute(events).await.expect("insert");
    fixture.transform().await;
    let dead_letters = fixture.aws.dead_letters().await;
    assert_eq!(dead_letters.len(), 120);
    fixture.write_sources(LAX);
    fixture.deploy("ingest-csv", &[]).await;
    fixture.write_model("orders", &fixed(ORDERS));
    (fixture, dead_letters)
}

/// Every fact exists once, and no dead letter is left.
pub async fn is_complete(fixture: &RedriveFixture) {
    // Messages that a killed process had received are visible again within a minute.
    for _ in 0..40 {
        let summary = fixture.redrive(json!({})).await;
        assert_eq!((&summary["failed"], &summary["pending"]), (&json!(0), &json!(0)), "{summary}");
        let ids = "select count(distinct id) from facts.orders";
        fixture.transform().await;
        if fixture.number(ids).await == 120
            && millrace_cli::dead_letters::depth(&fixture.aws.clients.sqs, &fixture.aws.dead_letter_queue_url)
                .await
                .expect("depth")
                == 0
        {
            break;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(fixture.number("select count(*) from raw_events").await, 120);
    assert_eq!(fixture.number("select count(*) from facts.orders").await, 120);
    assert_eq!(fixture.number("select count(distinct id) from facts.orders").await, 120);
    fixture.reconciles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_killed_during_a_redrive_lose_and_repeat_nothing() {
    let (fixture, dead_letters) = with_dead_letters().await;
    for pause in [5, 20, 60, 120, 250] {
        let (csv, transform) =
            (fixture.deploy("ingest-csv", &[]).await, fixture.deploy("transform", &[]).await);
        let killed = async {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            csv.kill();
            transform.kill();
        };
        let (summary, ()) = futures_util::join!(fixture.redrive(json!({})), killed);
        assert_eq!(summary["failed"], 0, "{summary}");
        fixture.repeat(&dead_letters[..20]).await;
    }
    fixture.deploy("ingest-csv", &[]).await;
    fixture.deploy("transform", &[]).await;
    is_complete(&fixture).await;
}
