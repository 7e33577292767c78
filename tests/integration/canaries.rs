//! No content of a file or an event reaches logs or metrics, at any log level and with any outcome. `webhook::logs` has
//! the same tests for deliveries.

use millrace_tests::postgres::ROLE_PASSWORD;
use millrace_tests::runtime_api::{Function, binary};
use serde_json::json;
use tempfile::TempDir;

use crate::stack::{LONG, Stack};
use crate::transform::fixture::{ORDERS, TransformFixture};

/// Each canary is at the place that its name describes.
const CANARIES: [&str; 5] = ["canary-column", "canary-cell", "canary-raw", "canary-payload", ROLE_PASSWORD];
const LEVELS: [&str; 2] =
    ["warn,millrace=trace,ingest_csv=trace,transform=trace,millrace_models=trace", "debug"];

fn assert_no_canary(function: &Function, level: &str, expected: &[&str]) {
    let lines = function.logs();
    for word in expected.iter().chain(&["\"_aws\""]) {
        assert!(lines.iter().any(|line| line.contains(word)), "{level}: {word} is not among {lines:#?}");
    }
    for canary in CANARIES {
        let told: Vec<&String> = lines.iter().filter(|line| line.contains(canary)).take(3).collect();
        assert!(told.is_empty(), "{level}: {canary} in {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_and_metrics_contain_nothing_of_a_file() {
    let files = [
        // Staged, rejected by its type, repaired, with too many fields.
        "id,canary-column\n1,canary-cell\nx canary-raw,canary-cell\n2,canary-cell\0\n3,canary-raw,canary-raw\n".to_owned(),
        // Two columns with the same name; a line that is not a header.
        "id,canary-column,canary-column\n1,canary-cell,canary-cell\n".to_owned(),
        // The load stops, because nearly all records are bad.
        format!("id,canary-column\n{}", "canary-raw,canary-cell\n".repeat(400)),
        // A constraint of the table's owner refuses it.
        "id,poison\n1,canary-cell\n2,canary-cell\n".to_owned(),
        // Not a CSV file.
        "canary-cell\u{1}\u{2}\0\0\0\0".to_owned(),
        "\"canary-raw".to_owned(),
    ];
    for level in LEVELS {
        let stack = Stack::new().await;
        let constraint = "alter table staging.events add constraint no_poison check (not payload ? 'poison')";
        stack.owner.batch_execute(constraint).await.expect(constraint);
        let folder = TempDir::new().expect("a folder");
        let sources = "[shop.csv]\ninvalid_characters = \"replace\"\n[shop.csv.columns]\nid = \"number\"\n";
        std::fs::write(folder.path().join("sources.toml"), sources).expect("sources.toml");
        let folder = folder.path().display().to_string();
        let function = stack.function(&[("MILLRACE_LOG", level), ("MILLRACE_PIPELINE", &folder)]).await;
        for (number, file) in files.iter().enumerate() {
            let key = format!("incoming/shop/orders/{number}.csv");
            let event = stack.aws.put(&key, file.clone().into_bytes()).await;
            function.invoke(&event, LONG).await.response();
        }
        assert_no_canary(&function, level, &["batch staged", "file staged", "file dead-lettered"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_and_metrics_contain_nothing_of_an_event() {
    for level in LEVELS {
        let fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
        // An event that is quarantined.
        fixture.orders(&[(1, "1", "canary-payload"), (2, "canary-payload", "b"), (3, "3", "c")]).await;
        let mut variables = fixture.aws.variables(&fixture.database.url_for("millrace_transform"));
        variables.push(("MILLRACE_PIPELINE".into(), fixture.pipeline.path().display().to_string()));
        variables.push(("MILLRACE_LOG".into(), level.to_owned()));
        let function = Function::spawn(&binary("transform"), &variables).await;
        function.invoke(&json!({}), LONG).await.response();
        // So many refused events that the model is at fault, and its events stay unprocessed.
        fixture.many_orders(1_000, 200, "canary-payload").await;
        function.invoke(&json!({}), LONG).await;
        assert_no_canary(&function, level, &["transformed", "events wait"]);
    }
}
