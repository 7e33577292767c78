//! Letters of kind `rows`: records of a file, read again under today's `sources.toml`.

use millrace::dead_letter::LetterKind;
use serde_json::json;

use super::site::{LAX, ORDERS, STRICT, Site, counts};

const FILE: &str = "id,total\n1,10\n2,ten\n3,30\n4,four\n5,50\n";
const FACTS: &str = "select count(*) from facts.orders";

/// Two of five records are not of their declared type.
async fn with_two_letters() -> Site {
    let site = Site::new(STRICT, &[("orders", ORDERS)]).await;
    site.load("incoming/shop/orders/a.csv", FILE).await;
    assert_eq!(site.letters(LetterKind::Rows).await.len(), 2);
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_whose_cause_is_mended_is_in_the_facts_once() {
    let site = with_two_letters().await;
    let letters = site.letters(LetterKind::Rows).await;
    // Not mended, they come back with one more attempt.
    let summary = site.redrive(json!({ "kind": "rows" })).await;
    assert_eq!(counts(&summary), [0, 0, 0, 2, 0]);
    assert_eq!(summary["reasons"], json!([{ "code": "wrong_type", "message": "not a number", "count": 2 }]));
    for again in site.letters(LetterKind::Rows).await {
        let before = letters.iter().find(|letter| letter.id == again.id).expect("the same letter");
        assert_eq!((again.attempts, &again.reason), (2, &before.reason));
        assert_eq!((&again.first_failed_at, &again.origin), (&before.first_failed_at, &before.origin));
    }
    site.write_sources(LAX);
    site.deploy("ingest-csv", &[]).await;
    // Copies of the same letters, before and after.
    site.repeat(&letters).await;
    assert_eq!(site.redrive_all().await, [4, 0, 0, 0, 0], "a letter that is there twice goes once");
    site.repeat(&letters).await;
    assert_eq!(site.redrive_all().await, [0, 2, 0, 0, 0]);
    assert_eq!(site.redrive_all().await, [0; 5]);
    site.transform().await;
    assert_eq!(site.number(FACTS).await, 5);
    assert_eq!(site.number("select count(*) from raw_events").await, 5);
    assert_eq!(site.number("select count(*) from raw_events where payload->>'total' = 'ten'").await, 1);
    site.reconciles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_goes_with_its_file() {
    let replace =
        |sources: &str| sources.replace("[shop.csv]\n", "[shop.csv]\non_new_version = \"replace\"\n");
    let site = Site::new(&replace(STRICT), &[("orders", ORDERS)]).await;
    site.load("incoming/shop/orders/a.csv", FILE).await;
    let letters = site.letters(LetterKind::Rows).await;
    site.write_sources(&replace(LAX));
    site.deploy("ingest-csv", &[]).await;
    assert_eq!(site.redrive_all().await, [2, 0, 0, 0, 0]);
    site.transform().await;
    assert_eq!(site.number(FACTS).await, 5);
    // The next version takes the place of the file and of what was put back of it.
    site.load("incoming/shop/orders/a.csv", "id,total\n1,11\n").await;
    assert_eq!(site.number("select count(*) from raw_events").await, 1);
    // And what comes back too late finds nothing to go with.
    site.repeat(&letters).await;
    assert_eq!(site.redrive_all().await, [0, 0, 2, 0, 0]);
    site.transform().await;
    assert_eq!(site.number(FACTS).await, 1);
    assert_eq!(site.number("select count(*) from facts.orders where total = '11'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_meant_is_taken() {
    let site = with_two_letters().await;
    site.write_sources(LAX);
    site.deploy("ingest-csv", &[]).await;
    let id = site.letters(LetterKind::Rows).await[0].id;
    for filter in [json!({ "kind": "event" }), json!({ "source": "other" }), json!({ "code": "contract" })] {
        let summary = site.redrive(filter).await;
        assert_eq!((counts(&summary), &summary["left"]), ([0; 5], &json!(2)));
    }
    let summary = site.redrive(json!({ "ids": [id] })).await;
    assert_eq!((counts(&summary), &summary["left"]), ([1, 0, 0, 0, 0], &json!(1)));
    // What was left is visible at once.
    let summary = site.redrive(json!({ "source": "shop", "event_type": "orders" })).await;
    assert_eq!((counts(&summary), &summary["left"]), ([1, 0, 0, 0, 0], &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_function_that_sent_it_a_letter_stays_as_it_is() {
    let site = with_two_letters().await;
    site.lambda.remove("ingest-csv");
    let summary = site.redrive(json!({})).await;
    assert_eq!(counts(&summary), [0, 0, 0, 0, 2]);
    let said = summary["reasons"][0]["message"].as_str().unwrap_or_default();
    assert!(said.contains("invoke ingest-csv"), "{said}");
    let letters = site.letters(LetterKind::Rows).await;
    assert_eq!(letters.iter().map(|letter| letter.attempts).collect::<Vec<_>>(), [1, 1]);
}
