//! Follows a dead letter of each kind from its failure to its fact, through the commands: it is listed, shown, its
//! cause fixed, and redriven. A second redrive changes nothing.

use std::process::Output;

use millrace_tests::runtime_api::binary;
use serde_json::{Value, json};
use tokio::process::Command;

use super::deliveries::{AWAY, deliver};
use super::events::fixed;
use super::fixture::RedriveFixture;

const SOURCES: &str = "[files.csv]\nheader = \"first\"\n[files.csv.columns]\ntotal = \"number\"\n\
    [shop.webhook]\npreset = \"bearer\"\nsecret = \"env:SECRET\"\ndelivery_id = \"header:X-Delivery\"\nevent_type = \"order\"\n";
const SOURCES_FIXED: &str = "[files.csv]\nheader = \"first\"\n[other.csv]\npath = [\"incoming/other.csv\"]\nevent_type = \"orders\"\n\
    [shop.webhook]\npreset = \"bearer\"\nsecret = \"env:SECRET\"\ndelivery_id = \"header:X-Delivery\"\nevent_type = \"order\"\n";
const ORDERS: &str = "-- kind = \"fact\"
-- source = [\"files/orders\", \"other/orders\", \"shop/order\", \"inserted/orders\"]
-- key = [\"id\"]
select (payload->>'id')::bigint as id, (payload->>'total')::numeric as total from batch";

async fn millrace(fixture: &RedriveFixture, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("millrace"));
    command
        .arg("dead-letters")
        .args(arguments)
        .env_clear()
        .envs(fixture.aws.variables(&fixture.database.url()));
    command.env("MILLRACE_REDRIVE_FUNCTION", "redrive");
    if arguments.contains(&"redrive") {
        // The command calls only Lambda.
        command.env("AWS_ENDPOINT_URL", fixture.lambda.endpoint());
    }
    command.output().await.expect("run millrace")
}

async fn said(fixture: &RedriveFixture, arguments: &[&str]) -> Value {
    let output = millrace(fixture, arguments).await;
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Each of the four facts exists once.
async fn facts(fixture: &RedriveFixture) -> Vec<i64> {
    let rows = fixture.owner.query("select id from facts.orders order by id", &[]).await.expect("facts");
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_of_each_kind_is_listed_shown_fixed_and_redriven_once() {
    let fixture = RedriveFixture::new(SOURCES, &[("orders", ORDERS)]).await;
    fixture.lambda.deploy("redrive", fixture.redriver(&[]).await);
    // A record of the wrong type, a file without a source, a delivery without a database, an event that no model
    // accepts.
    fixture.load("incoming/files/orders/a.csv", "id,total\n1,10\n2,ten\n").await;
    fixture.load("incoming/other.csv", "id,total\n3,30\n").await;
    fixture.deploy("ingest-webhook", &AWAY).await;
    deliver(&fixture, "1", None, r#"{"id": 4, "total": "40"}"#).await;
    let insert = "insert into raw_events (source, event_type, payload) values ('inserted', 'orders', '{\"id\": 5, \"total\": \"five\"}')";
    fixture.owner.batch_execute(insert).await.expect("insert");
    fixture.transform().await;
    assert_eq!(facts(&fixture).await, [1]);

    let listed = said(&fixture, &["list", "--json"]).await;
    let dead_letters = listed["dead_letters"].as_array().expect("dead letters");
    let mut kinds: Vec<&str> =
        dead_letters.iter().map(|dead_letter| dead_letter["kind"].as_str().expect("a kind")).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["delivery", "event", "rows", "upload"]);
    for dead_letter in dead_letters {
        let id = dead_letter["id"].as_str().expect("an id");
        let shown = said(&fixture, &["show", id, "--json"]).await;
        let (shown_id, shown_reason) = match shown.get("dead_letter") {
            Some(inner) => (&inner["id"], &inner["reason"]["code"]),
            None => (&shown["id"], &shown["reason"]["code"]),
        };
        assert_eq!(shown_id, &dead_letter["id"], "{shown}");
        assert!(shown_reason.is_string(), "{shown}");
    }

    fixture.write_sources(SOURCES_FIXED);
    fixture.write_model("orders", &fixed(ORDERS));
    fixture.deploy("ingest-csv", &[]).await;
    fixture.deploy("ingest-webhook", &[]).await;
    let copies = fixture.aws.dead_letters().await;
    for round in 0..2 {
        let output = millrace(&fixture, &["redrive", "--all", "--json"]).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let summary: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!((&summary["failed"], &summary["pending"]), (&json!(0), &json!(0)), "{summary}");
        fixture.load_queued().await;
        fixture.transform().await;
        assert_eq!(facts(&fixture).await, [1, 2, 3, 4, 5], "round {round}");
        assert_eq!(fixture.number("select count(*) from raw_events").await, 5);
        assert!(fixture.aws.dead_letters().await.is_empty());
        // The same dead letters again, as SQS may deliver them twice.
        fixture.repeat(&copies).await;
    }
    fixture.reconciles().await;
}
