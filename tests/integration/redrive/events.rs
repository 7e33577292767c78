//! Letters of kind `event`: events that a model refused, through that model as it is now.

use futures_util::join;
use millrace::dead_letter::LetterKind;
use serde_json::json;

use super::site::{LAX, Site, counts};

const STRICT: &str = "-- kind = \"fact\"
-- source = \"shop/orders\"
-- key = [\"id\"]
select (payload->>'id')::bigint as id, (payload->>'total')::numeric as total from batch";
/// A line for each order, without a key.
const LINES: &str = "-- kind = \"fact\"
-- source = \"shop/orders\"
select (payload->>'id')::bigint as id, (payload->>'total')::numeric as total from batch";

/// What is no number is null.
pub fn mended(model: &str) -> String {
    model.replace(
        "(payload->>'total')::numeric",
        "(case when payload->>'total' ~ '^[0-9]+$' then payload->>'total' end)::numeric",
    )
}

async fn insert(site: &Site, rows: &[(i64, &str)]) {
    let values: Vec<String> = rows
        .iter()
        .map(|(id, total)| format!("('shop', 'orders', '{{\"id\": {id}, \"total\": \"{total}\"}}')"))
        .collect();
    let sql = format!("insert into raw_events (source, event_type, payload) values {}", values.join(", "));
    site.owner.batch_execute(&sql).await.expect("insert");
}

const QUARANTINED: &str = "select sum(quarantined_count)::bigint from staging.batches";

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_model_is_mended_is_in_the_facts_once() {
    let site = Site::new(LAX, &[("orders", STRICT)]).await;
    insert(&site, &[(1, "1"), (2, "two"), (3, "3")]).await;
    insert(&site, &[(4, "four")]).await;
    site.transform().await;
    let letters = site.letters(LetterKind::Event).await;
    assert_eq!((letters.len(), site.number(QUARANTINED).await), (2, 2));
    let summary = site.redrive(json!({ "model": "orders" })).await;
    assert_eq!(counts(&summary), [0, 0, 0, 2, 0]);
    assert_eq!(summary["reasons"][0]["code"], "refused_by_model");
    let again = site.letters(LetterKind::Event).await;
    assert_eq!(again.iter().map(|letter| letter.attempts).collect::<Vec<_>>(), [2, 2]);
    site.write_model("orders", &mended(STRICT));
    // A newer event of the same key is there: the older one must not take its place.
    insert(&site, &[(4, "44")]).await;
    site.transform().await;
    assert_eq!(site.redrive_all().await, [2, 0, 0, 0, 0]);
    site.repeat(&letters).await;
    assert_eq!(site.redrive_all().await, [0, 2, 0, 0, 0]);
    assert_eq!(site.number("select count(*) from facts.orders").await, 4);
    assert_eq!(site.number("select count(*) from facts.orders where id = 4 and total = 44").await, 1);
    assert_eq!(
        (site.number(QUARANTINED).await, site.number("select count(*) from pipeline.quarantine").await),
        (0, 0)
    );
    assert_eq!(site.number("select count(*) from pipeline.runs where activity = 'redrive'").await, 2);
    site.reconciles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_two_models_refused_counts_until_both_have_it() {
    let site = Site::new(LAX, &[("lines", LINES), ("orders", STRICT)]).await;
    insert(&site, &[(1, "one"), (2, "2")]).await;
    site.transform().await;
    assert_eq!((site.letters(LetterKind::Event).await.len(), site.number(QUARANTINED).await), (2, 1));
    site.write_model("lines", &mended(LINES));
    assert_eq!(site.redrive_all().await, [1, 0, 0, 1, 0]);
    assert_eq!(site.number(QUARANTINED).await, 1);
    site.reconciles().await;
    site.write_model("orders", &mended(STRICT));
    assert_eq!(site.redrive_all().await, [1, 0, 0, 0, 0]);
    assert_eq!(site.number(QUARANTINED).await, 0);
    site.reconciles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_letters_twice_at_once_make_facts_without_a_key_once() {
    let site = Site::new(LAX, &[("lines", LINES)]).await;
    let rows: Vec<(i64, &str)> = (0..60).map(|id| (id, "bad")).collect();
    insert(&site, &rows).await;
    site.transform().await;
    let letters = site.letters(LetterKind::Event).await;
    assert_eq!(letters.len(), 60);
    site.write_model("lines", &mended(LINES));
    let (one, two) = (site.deploy("transform", &[]).await, site.deploy("transform", &[]).await);
    let event = json!({ "redrive": letters });
    let time = crate::stack::LONG;
    let (first, second) = join!(one.invoke(&event, time), two.invoke(&event, time));
    let fates = [first.response(), second.response()];
    let redriven = |answer: &serde_json::Value| {
        answer["fates"].as_array().expect("fates").iter().filter(|fate| fate["fate"] == "redriven").count()
    };
    assert_eq!(redriven(&fates[0]) + redriven(&fates[1]), 60);
    assert_eq!(site.number("select count(*) from facts.lines").await, 60);
    site.reconciles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_whose_commit_never_happened_leaves_its_event_to_the_next_run() {
    let site = Site::new(LAX, &[("orders", STRICT)]).await;
    insert(&site, &[(1, "one")]).await;
    site.transform().await;
    // As a crash between the letter and the commit leaves it.
    let undo = "delete from pipeline.quarantine; update staging.batches set processed_at = null, quarantined_count = 0";
    site.owner.batch_execute(undo).await.expect("undo");
    assert_eq!(site.redrive_all().await, [0, 0, 1, 0, 0]);
    site.transform().await;
    assert_eq!(site.letters(LetterKind::Event).await.len(), 1, "it has a letter again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_says_why() {
    let site = Site::new(LAX, &[("orders", STRICT)]).await;
    insert(&site, &[(1, "one")]).await;
    site.transform().await;
    // A model that does not run: its events wait, and so do its letters.
    site.write_model("orders", &STRICT.replace("from batch", "from batch, public.nowhere"));
    let summary = site.redrive(json!({})).await;
    assert_eq!(counts(&summary), [0, 0, 0, 0, 1]);
    site.write_model("orders", &STRICT.replace("shop/orders", "shop/refunds"));
    let summary = site.redrive(json!({})).await;
    assert_eq!(counts(&summary), [0, 0, 0, 0, 1]);
    let why = summary["reasons"][0]["message"].as_str().unwrap_or_default();
    assert!(why.contains("no model orders takes events of shop/orders"), "{why}");
    site.owner.batch_execute("update staging.batches set superseded_at = now()").await.expect("supersede");
    site.write_model("orders", STRICT);
    assert_eq!(site.redrive_all().await, [0, 0, 1, 0, 0]);
}
