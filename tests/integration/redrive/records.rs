//! Dead letters of kind `rows`: records of a file, read again under the current `sources.toml`.

use millrace::dead_letter::DeadLetterKind;
use serde_json::json;

use super::fixture::{LAX, ORDERS, RedriveFixture, STRICT, counts};

const FILE: &str = "id,total\n1,10\n2,ten\n3,30\n4,four\n5,50\n";
const FACTS: &str = "select count(*) from facts.orders";

/// Two of five records are not of their declared type.
async fn with_two_dead_letters() -> RedriveFixture {
    let fixture = RedriveFixture::new(STRICT, &[("orders", ORDERS)]).await;
    fixture.load("incoming/shop/orders/a.csv", FILE).await;
    assert_eq!(fixture.dead_letters(DeadLetterKind::Rows).await.len(), 2);
    fixture
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_whose_cause_is_fixed_is_in_the_facts_once() {
    let fixture = with_two_dead_letters().await;
    let dead_letters = fixture.dead_letters(DeadLetterKind::Rows).await;
    // The cause is not fixed, so they fail again with one more attempt.
    let summary = fixture.redrive(json!({ "kind": "rows" })).await;
    assert_eq!(counts(&summary), [0, 0, 0, 2, 0]);
    assert_eq!(summary["reasons"], json!([{ "code": "wrong_type", "message": "not a number", "count": 2 }]));
    for again in fixture.dead_letters(DeadLetterKind::Rows).await {
        let before =
            dead_letters.iter().find(|dead_letter| dead_letter.id == again.id).expect("the same dead letter");
        assert_eq!((again.attempts, &again.reason), (2, &before.reason));
        assert_eq!((&again.first_failed_at, &again.origin), (&before.first_failed_at, &before.origin));
    }
    fixture.write_sources(LAX);
    fixture.deploy("ingest-csv", &[]).await;
    // Copies of the same dead letters, before and after.
    fixture.repeat(&dead_letters).await;
    assert_eq!(fixture.redrive_all().await, [4, 0, 0, 0, 0], "a dead letter that is there twice goes once");
    fixture.repeat(&dead_letters).await;
    assert_eq!(fixture.redrive_all().await, [0, 2, 0, 0, 0]);
    assert_eq!(fixture.redrive_all().await, [0; 5]);
    fixture.transform().await;
    assert_eq!(fixture.number(FACTS).await, 5);
    assert_eq!(fixture.number("select count(*) from raw_events").await, 5);
    assert_eq!(fixture.number("select count(*) from raw_events where payload->>'total' = 'ten'").await, 1);
    fixture.reconciles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redriven_record_is_superseded_with_its_file() {
    let replace =
        |sources: &str| sources.replace("[shop.csv]\n", "[shop.csv]\non_new_version = \"replace\"\n");
    let fixture = RedriveFixture::new(&replace(STRICT), &[("orders", ORDERS)]).await;
    fixture.load("incoming/shop/orders/a.csv", FILE).await;
    let dead_letters = fixture.dead_letters(DeadLetterKind::Rows).await;
    fixture.write_sources(&replace(LAX));
    fixture.deploy("ingest-csv", &[]).await;
    assert_eq!(fixture.redrive_all().await, [2, 0, 0, 0, 0]);
    fixture.transform().await;
    assert_eq!(fixture.number(FACTS).await, 5);
    // The next version supersedes the file and its redriven records.
    fixture.load("incoming/shop/orders/a.csv", "id,total\n1,11\n").await;
    assert_eq!(fixture.number("select count(*) from raw_events").await, 1);
    // A record that is redriven afterwards is void.
    fixture.repeat(&dead_letters).await;
    assert_eq!(fixture.redrive_all().await, [0, 0, 2, 0, 0]);
    fixture.transform().await;
    assert_eq!(fixture.number(FACTS).await, 1);
    assert_eq!(fixture.number("select count(*) from facts.orders where total = '11'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_matching_dead_letters_are_redriven() {
    let fixture = with_two_dead_letters().await;
    fixture.write_sources(LAX);
    fixture.deploy("ingest-csv", &[]).await;
    let id = fixture.dead_letters(DeadLetterKind::Rows).await[0].id;
    for filter in [json!({ "kind": "event" }), json!({ "source": "other" }), json!({ "code": "contract" })] {
        let summary = fixture.redrive(filter).await;
        assert_eq!((counts(&summary), &summary["left"]), ([0; 5], &json!(2)));
    }
    let summary = fixture.redrive(json!({ "ids": [id] })).await;
    assert_eq!((counts(&summary), &summary["left"]), ([1, 0, 0, 0, 0], &json!(1)));
    // The other dead letters are visible immediately.
    let summary = fixture.redrive(json!({ "source": "shop", "event_type": "orders" })).await;
    assert_eq!((counts(&summary), &summary["left"]), ([1, 0, 0, 0, 0], &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_function_that_sent_it_a_dead_letter_stays_as_it_is() {
    let fixture = with_two_dead_letters().await;
    fixture.lambda.remove("ingest-csv");
    let summary = fixture.redrive(json!({})).await;
    assert_eq!(counts(&summary), [0, 0, 0, 0, 2]);
    let said = summary["reasons"][0]["message"].as_str().unwrap_or_default();
    assert!(said.contains("invoke ingest-csv"), "{said}");
    let dead_letters = fixture.dead_letters(DeadLetterKind::Rows).await;
    assert_eq!(dead_letters.iter().map(|dead_letter| dead_letter.attempts).collect::<Vec<_>>(), [1, 1]);
}
