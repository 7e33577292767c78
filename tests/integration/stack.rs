//! A bucket, queues and a database, and the compiled ingest-csv with their settings.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_tests::aws::Aws;
use millrace_tests::postgres::{Database, number};
use millrace_tests::runtime_api::{Function, binary};
use serde_json::{Value, json};
use tokio_postgres::Client;

/// A timeout that suffices for every load of these tests.
pub const LONG: Duration = Duration::from_secs(60);

pub struct Stack {
    pub aws: Aws,
    pub database: Database,
    pub owner: Client,
}

impl Stack {
    pub async fn new() -> Stack {
        let database = Database::new().await;
        let owner = database.owner().await;
        Stack { aws: Aws::new().await, database, owner }
    }

    pub async fn function(&self, settings: &[(&str, &str)]) -> Function {
        let mut environment = self.aws.variables(&self.database.url_for("millrace_ingest"));
        // A setting of the test overrides one of the stack.
        environment.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Function::spawn(&binary("ingest-csv"), &environment).await
    }

    pub async fn rows(&self) -> i64 {
        number(&self.owner, "select count(*) from raw_events").await
    }

    /// raw_events contains every record of `file` as often as the file, and nothing else.
    pub async fn holds(&self, file: &str) {
        let mut expected: BTreeMap<String, i64> = BTreeMap::new();
        let mut reader = csv::Reader::from_reader(file.as_bytes());
        let names = reader.headers().expect("a header").clone();
        for record in reader.records() {
            let record = record.expect("a record");
            let object: serde_json::Map<String, Value> =
                names.iter().zip(&record).map(|(name, value)| (name.to_owned(), json!(value))).collect();
            *expected.entry(Value::Object(object).to_string()).or_default() += 1;
        }
        let rows = self.owner.query("select payload from raw_events", &[]).await.expect("read raw_events");
        let mut found: BTreeMap<String, i64> = BTreeMap::new();
        for row in rows {
            *found.entry(row.get::<_, Value>(0).to_string()).or_default() += 1;
        }
        let missing: Vec<_> =
            expected.iter().filter(|(row, count)| found.get(*row) != Some(count)).take(3).collect();
        let surplus: Vec<_> =
            found.iter().filter(|(row, count)| expected.get(*row) != Some(count)).take(3).collect();
        assert!(expected == found, "missing {missing:?}, surplus {surplus:?}");
        let staged = number(&self.owner, "select sum(staged_count)::bigint from staging.batches").await;
        assert_eq!(staged, found.values().sum::<i64>(), "the ledger agrees");
        let differing = "select count(*) from staging.loads join staging.load_results using (load_id)
             where record_count <> (select sum(read_count) from staging.batches where load_id = loads.load_id)";
        assert_eq!(number(&self.owner, differing).await, 0, "the reader's own count agrees");
    }
}

pub fn accepted() -> Value {
    json!({ "batchItemFailures": [] })
}

pub fn id(event: &Value) -> &Value {
    &event["Records"][0]["messageId"]
}

/// A file of `rows` records, some of them over several lines.
pub fn orders(rows: usize) -> String {
    let mut text = "id,name,a_longer_name\n".to_owned();
    for row in 0..rows {
        match row % 7 {
            0 => text.push_str(&format!("{row},\"two\nlines, \"\"quoted\"\"\",00{row}\n")),
            1 => text.push_str(&format!("{row},,ü\n")),
            _ => text.push_str(&format!("{row},name {row},{}\n", row * 3)),
        }
    }
    text
}
