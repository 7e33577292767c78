//! Redrive, and the functions it asks, killed at any moment.

use std::time::Duration;

use millrace::dead_letter::Letter;
use millrace_tests::runtime_api::Outcome;
use serde_json::json;

use super::events::mended;
use super::site::{LAX, STRICT, Site};
use crate::stack::LONG;

const ORDERS: &str = "-- kind = \"fact\"
-- source = \"shop/orders\"
select (payload->>'id')::bigint as id, (payload->>'total')::numeric as total from batch";

/// 60 records that were not of their type, and 60 events that the model refused.
async fn with_letters() -> (Site, Vec<Letter>) {
    let site = Site::new(STRICT, &[("orders", ORDERS)]).await;
    let rows: String = (0..60).map(|id| format!("{id},bad\n")).collect();
    site.load("incoming/shop/orders/a.csv", &format!("id,total\n{rows}")).await;
    let events = "insert into raw_events (source, event_type, payload)
        select 'shop', 'orders', jsonb_build_object('id', n, 'total', 'bad') from generate_series(100, 159) as n";
    site.owner.batch_execute(events).await.expect("insert");
    site.transform().await;
    let letters = site.aws.letters().await;
    assert_eq!(letters.len(), 120);
    site.write_sources(LAX);
    site.deploy("ingest-csv", &[]).await;
    site.write_model("orders", &mended(ORDERS));
    (site, letters)
}

/// Everything is in the facts once, and nothing is left.
async fn is_complete(site: &Site) {
    // What a killed process held comes back within a minute.
    for _ in 0..40 {
        let summary = site.redrive(json!({})).await;
        assert_eq!((&summary["failed"], &summary["waiting"]), (&json!(0), &json!(0)), "{summary}");
        let ids = "select count(distinct id) from facts.orders";
        site.transform().await;
        if site.number(ids).await == 120
            && millrace_cli::letters::depth(&site.aws.clients.sqs, &site.aws.dead_letter_queue_url)
                .await
                .expect("depth")
                == 0
        {
            break;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(site.number("select count(*) from raw_events").await, 120);
    assert_eq!(site.number("select count(*) from facts.orders").await, 120);
    assert_eq!(site.number("select count(distinct id) from facts.orders").await, 120);
    site.reconciles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_killed_at_any_moment_loses_nothing_and_repeats_nothing() {
    let (site, letters) = with_letters().await;
    let mut crashes = 0;
    for pause in [5, 60, 120, 200, 300, 450, 700] {
        let redrive = site.redriver().await;
        let event = json!({ "action": "redrive", "filter": {} });
        let killed = async {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            redrive.kill();
        };
        let (outcome, ()) = futures_util::join!(redrive.invoke(&event, LONG), killed);
        crashes += usize::from(outcome == Outcome::Crashed);
        // What it held is hidden for a while; SQS may deliver any letter once more.
        site.repeat(&letters[..40]).await;
    }
    assert!(crashes >= 4, "{crashes} crashes");
    is_complete(&site).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_killed_while_they_take_letters_back_lose_and_repeat_nothing() {
    let (site, letters) = with_letters().await;
    for pause in [5, 20, 60, 120, 250] {
        let (csv, transform) = (site.deploy("ingest-csv", &[]).await, site.deploy("transform", &[]).await);
        let killed = async {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            csv.kill();
            transform.kill();
        };
        let (summary, ()) = futures_util::join!(site.redrive(json!({})), killed);
        assert_eq!(summary["failed"], 0, "{summary}");
        site.repeat(&letters[..20]).await;
    }
    site.deploy("ingest-csv", &[]).await;
    site.deploy("transform", &[]).await;
    is_complete(&site).await;
}
