//! Redrives as many dead letters as SQS returns in a thousand requests.

use millrace_cli::dead_letters::depth;
use serde_json::json;

use super::events::fixed;
use super::fixture::{LAX, RedriveFixture};
use crate::stack::LONG;

const MANY: i64 = 10_000;
const ORDERS: &str = "-- kind = \"fact\"
-- source = \"shop/orders\"
-- max_quarantined_share = 1.0
select (payload->>'id')::bigint as id, (payload->>'total')::numeric as total from batch";

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_dead_letters_are_redriven_without_loss() {
    let fixture = RedriveFixture::new(LAX, &[("orders", ORDERS)]).await;
    let insert = format!(
        "insert into raw_events (source, event_type, payload)
         select 'shop', 'orders', jsonb_build_object('id', n, 'total', 'bad') from generate_series(1, {MANY}) as n"
    );
    fixture.owner.batch_execute(&insert).await.expect("insert");
    // Each of them is found by bisection.
    fixture.lambda.get("transform").invoke(&json!({}), LONG * 4).await.response();
    let (sqs, queue) = (&fixture.aws.clients.sqs, &fixture.aws.dead_letter_queue_url);
    assert_eq!(depth(sqs, queue).await.expect("depth"), MANY);
    fixture.write_model("orders", &fixed(ORDERS));
    let redrive = fixture.redriver(&[]).await;
    let mut redriven = 0;
    loop {
        let event = json!({ "action": "redrive", "filter": {}, "at_most": 6_000 });
        let summary = redrive.invoke(&event, LONG * 4).await.response();
        assert_eq!((&summary["failed"], &summary["pending"]), (&json!(0), &json!(0)), "{summary}");
        redriven += summary["redriven"].as_i64().expect("a count");
        if summary["more"] == false {
            break;
        }
    }
    assert_eq!(redriven, MANY);
    assert_eq!(depth(sqs, queue).await.expect("depth"), 0);
    assert_eq!(fixture.number("select count(*) from facts.orders").await, MANY);
    assert_eq!(fixture.number("select count(distinct id) from facts.orders").await, MANY);
    fixture.reconciles().await;
}
