//! Dead letters of kind `event`: events that a model refused, redriven through the model's current version.

use futures_util::join;
use millrace::dead_letter::DeadLetterKind;
use serde_json::json;

use super::fixture::{LAX, RedriveFixture, counts};

const STRICT: &str = "-- kind = \"fact\"
-- source = \"shop/orders\"
-- key = [\"id\"]
select (payload->>'id')::bigint as id, (payload->>'total')::numeric as total from batch";
/// One row for each order, without a key.
const LINES: &str = "-- kind = \"fact\"
-- source = \"shop/orders\"
select (payload->>'id')::bigint as id, (payload->>'total')::numeric as total from batch";

/// A value that is not a number is null.
pub fn fixed(model: &str) -> String {
    model.replace(
        "(payload->>'total')::numeric",
        "(case when payload->>'total' ~ '^[0-9]+$' then payload->>'total' end)::numeric",
    )
}

async fn insert(fixture: &RedriveFixture, rows: &[(i64, &str)]) {
    let values: Vec<String> = rows
        .iter()
        .map(|(id, total)| format!("('shop', 'orders', '{{\"id\": {id}, \"total\": \"{total}\"}}')"))
        .collect();
    let sql = format!("insert into raw_events (source, event_type, payload) values {}", values.join(", "));
    fixture.owner.batch_execute(&sql).await.expect("insert");
}

const QUARANTINED: &str = "select sum(quarantined_count)::bigint from staging.batches";

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_model_is_fixed_is_in_the_facts_once() {
    let fixture = RedriveFixture::new(LAX, &[("orders", STRICT)]).await;
    insert(&fixture, &[(1, "1"), (2, "two"), (3, "3")]).await;
    insert(&fixture, &[(4, "four")]).await;
    fixture.transform().await;
    let dead_letters = fixture.dead_letters(DeadLetterKind::Event).await;
    assert_eq!((dead_letters.len(), fixture.number(QUARANTINED).await), (2, 2));
    let summary = fixture.redrive(json!({ "model": "orders" })).await;
    assert_eq!(counts(&summary), [0, 0, 0, 2, 0]);
    assert_eq!(summary["reasons"][0]["code"], "refused_by_model");
    let again = fixture.dead_letters(DeadLetterKind::Event).await;
    assert_eq!(again.iter().map(|dead_letter| dead_letter.attempts).collect::<Vec<_>>(), [2, 2]);
    fixture.write_model("orders", &fixed(STRICT));
    // A newer event with the same key exists. The older event must not replace it.
    insert(&fixture, &[(4, "44")]).await;
    fixture.transform().await;
    assert_eq!(fixture.redrive_all().await, [2, 0, 0, 0, 0]);
    fixture.repeat(&dead_letters).await;
    assert_eq!(fixture.redrive_all().await, [0, 2, 0, 0, 0]);
    assert_eq!(fixture.number("select count(*) from facts.orders").await, 4);
    assert_eq!(fixture.number("select count(*) from facts.orders where id = 4 and total = 44").await, 1);
    assert_eq!(
        (fixture.number(QUARANTINED).await, fixture.number("select count(*) from pipeline.quarantine").await),
        (0, 0)
    );
    assert_eq!(fixture.number("select count(*) from pipeline.runs where activity = 'redrive'").await, 2);
    fixture.reconciles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_two_models_refused_counts_until_both_have_it() {
    let fixture = RedriveFixture::new(LAX, &[("lines", LINES), ("orders", STRICT)]).await;
    insert(&fixture, &[(1, "one"), (2, "2")]).await;
    fixture.transform().await;
    assert_eq!(
        (fixture.dead_letters(DeadLetterKind::Event).await.len(), fixture.number(QUARANTINED).await),
        (2, 1)
    );
    fixture.write_model("lines", &fixed(LINES));
    assert_eq!(fixture.redrive_all().await, [1, 0, 0, 1, 0]);
    assert_eq!(fixture.number(QUARANTINED).await, 1);
    fixture.reconciles().await;
    fixture.write_model("orders", &fixed(STRICT));
    assert_eq!(fixture.redrive_all().await, [1, 0, 0, 0, 0]);
    assert_eq!(fixture.number(QUARANTINED).await, 0);
    fixture.reconciles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_copies_of_dead_letters_make_facts_without_a_key_once() {
    let fixture = RedriveFixture::new(LAX, &[("lines", LINES)]).await;
    let rows: Vec<(i64, &str)> = (0..60).map(|id| (id, "bad")).collect();
    insert(&fixture, &rows).await;
    fixture.transform().await;
    let dead_letters = fixture.dead_letters(DeadLetterKind::Event).await;
    assert_eq!(dead_letters.len(), 60);
    fixture.write_model("lines", &fixed(LINES));
    let (one, two) = (fixture.deploy("transform", &[]).await, fixture.deploy("transform", &[]).await);
    let event = json!({ "redrive": dead_letters });
    let time = crate::stack::LONG;
    let (first, second) = join!(one.invoke(&event, time), two.invoke(&event, time));
    let outcomes = [first.response(), second.response()];
    let redriven = |answer: &serde_json::Value| {
        answer["outcomes"]
            .as_array()
            .expect("outcomes")
            .iter()
            .filter(|outcome| outcome["outcome"] == "redriven")
            .count()
    };
    assert_eq!(redriven(&outcomes[0]) + redriven(&outcomes[1]), 60);
    assert_eq!(fixture.number("select count(*) from facts.lines").await, 60);
    fixture.reconciles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_whose_commit_never_happened_leaves_its_event_to_the_next_run() {
    let fixture = RedriveFixture::new(LAX, &[("orders", STRICT)]).await;
    insert(&fixture, &[(1, "one")]).await;
    fixture.transform().await;
    // The state after a crash between the dead letter and the commit.
    let undo = "delete from pipeline.quarantine; update staging.batches set processed_at = null, quarantined_count = 0";
    fixture.owner.batch_execute(undo).await.expect("undo");
    assert_eq!(fixture.redrive_all().await, [0, 0, 1, 0, 0]);
    fixture.transform().await;
    assert_eq!(fixture.dead_letters(DeadLetterKind::Event).await.len(), 1, "it has a dead letter again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_stays_has_a_reason() {
    let fixture = RedriveFixture::new(LAX, &[("orders", STRICT)]).await;
    insert(&fixture, &[(1, "one")]).await;
    fixture.transform().await;
    // A model that does not run: its events stay unprocessed, and its dead letters stay.
    fixture.write_model("orders", &STRICT.replace("from batch", "from batch, public.nowhere"));
    let summary = fixture.redrive(json!({})).await;
    assert_eq!(counts(&summary), [0, 0, 0, 0, 1]);
    fixture.write_model("orders", &STRICT.replace("shop/orders", "shop/refunds"));
    let summary = fixture.redrive(json!({})).await;
    assert_eq!(counts(&summary), [0, 0, 0, 0, 1]);
    let why = summary["reasons"][0]["message"].as_str().unwrap_or_default();
    assert!(why.contains("no model orders reads events of shop/orders"), "{why}");
    fixture.owner.batch_execute("update staging.batches set superseded_at = now()").await.expect("supersede");
    fixture.write_model("orders", STRICT);
    assert_eq!(fixture.redrive_all().await, [0, 0, 1, 0, 0]);
}
