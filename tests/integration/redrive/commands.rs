//! A letter of each kind, from its failure to its fact, as somebody at a terminal sees it: listed, shown, its cause mended,
//! put back; and put back once more, which changes nothing.

use std::process::Output;

use millrace_tests::runtime_api::binary;
use serde_json::{Value, json};
use tokio::process::Command;

use super::deliveries::{AWAY, deliver};
use super::events::mended;
use super::site::Site;

const SOURCES: &str = "[files.csv]\nheader = \"first\"\n[files.csv.columns]\ntotal = \"number\"\n\
    [shop.webhook]\npreset = \"bearer\"\nsecret = \"env:SECRET\"\ndelivery_id = \"header:X-Delivery\"\nevent_type = \"order\"\n";
const SOURCES_MENDED: &str = "[files.csv]\nheader = \"first\"\n[elsewhere.csv]\npath = [\"incoming/elsewhere.csv\"]\nevent_type = \"orders\"\n\
    [shop.webhook]\npreset = \"bearer\"\nsecret = \"env:SECRET\"\ndelivery_id = \"header:X-Delivery\"\nevent_type = \"order\"\n";
const ORDERS: &str = "-- kind = \"fact\"
-- source = [\"files/orders\", \"elsewhere/orders\", \"shop/order\", \"inserted/orders\"]
-- key = [\"id\"]
select (payload->>'id')::bigint as id, (payload->>'total')::numeric as total from batch";

async fn millrace(site: &Site, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("millrace"));
    command.arg("dead-letters").args(arguments).env_clear().envs(site.aws.variables(&site.database.url()));
    command.env("MILLRACE_REDRIVE_FUNCTION", "redrive");
    if arguments.contains(&"redrive") {
        // It talks to Lambda alone.
        command.env("AWS_ENDPOINT_URL", site.lambda.endpoint());
    }
    command.output().await.expect("run millrace")
}

async fn said(site: &Site, arguments: &[&str]) -> Value {
    let output = millrace(site, arguments).await;
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Every fact once, and which of the four there are.
async fn facts(site: &Site) -> Vec<i64> {
    let rows = site.owner.query("select id from facts.orders order by id", &[]).await.expect("facts");
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_of_each_kind_is_listed_shown_mended_and_put_back_once() {
    let site = Site::new(SOURCES, &[("orders", ORDERS)]).await;
    site.lambda.deploy("redrive", site.redriver().await);
    // A record of the wrong type, a file without a source, a delivery without a database, an event no model takes.
    site.load("incoming/files/orders/a.csv", "id,total\n1,10\n2,ten\n").await;
    site.load("incoming/elsewhere.csv", "id,total\n3,30\n").await;
    site.deploy("ingest-webhook", &AWAY).await;
    deliver(&site, "1", None, r#"{"id": 4, "total": "40"}"#).await;
    let insert = "insert into raw_events (source, event_type, payload) values ('inserted', 'orders', '{\"id\": 5, \"total\": \"five\"}')";
    site.owner.batch_execute(insert).await.expect("insert");
    site.transform().await;
    assert_eq!(facts(&site).await, [1]);

    let listed = said(&site, &["list", "--json"]).await;
    let letters = listed["letters"].as_array().expect("letters");
    let mut kinds: Vec<&str> =
        letters.iter().map(|letter| letter["kind"].as_str().expect("a kind")).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["delivery", "event", "rows", "upload"]);
    for letter in letters {
        let id = letter["id"].as_str().expect("an id");
        let shown = said(&site, &["show", id, "--json"]).await;
        let (shown_id, shown_reason) = match shown.get("letter") {
            Some(inner) => (&inner["id"], &inner["reason"]["code"]),
            None => (&shown["id"], &shown["reason"]["code"]),
        };
        assert_eq!(shown_id, &letter["id"], "{shown}");
        assert!(shown_reason.is_string(), "{shown}");
    }

    site.write_sources(SOURCES_MENDED);
    site.write_model("orders", &mended(ORDERS));
    site.deploy("ingest-csv", &[]).await;
    site.deploy("ingest-webhook", &[]).await;
    let copies = site.aws.letters().await;
    for round in 0..2 {
        let output = millrace(&site, &["redrive", "--all", "--json"]).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let summary: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!((&summary["failed"], &summary["waiting"]), (&json!(0), &json!(0)), "{summary}");
        site.load_queued().await;
        site.transform().await;
        assert_eq!(facts(&site).await, [1, 2, 3, 4, 5], "round {round}");
        assert_eq!(site.number("select count(*) from raw_events").await, 5);
        assert!(site.aws.letters().await.is_empty());
        // The same once more, as SQS may deliver them.
        site.repeat(&copies).await;
    }
    site.reconciles().await;
}
