//! A database, a bucket, queues, and every function that sends or redrives dead letters.

use std::sync::Arc;

use millrace::dead_letter::{DeadLetter, DeadLetterKind};
use millrace_tests::aws::Aws;
use millrace_tests::lambda::Lambda;
use millrace_tests::postgres::{Database, number};
use millrace_tests::runtime_api::{Function, binary};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_postgres::Client;

use crate::stack::LONG;

/// Every column as text, `total` as a number.
pub const STRICT: &str = "[shop.csv]\nheader = \"first\"\n[shop.csv.columns]\ntotal = \"number\"\n";
pub const LAX: &str = "[shop.csv]\nheader = \"first\"\n";

/// Facts of files and of webhooks.
pub const ORDERS: &str = "-- kind = \"fact\"
-- source = \"shop/orders\"
-- key = [\"id\"]
select (payload->>'id')::bigint as id, payload->>'total' as total from batch";

pub struct RedriveFixture {
    pub aws: Aws,
    pub database: Database,
    pub owner: Client,
    pub lambda: Lambda,
    pipeline: TempDir,
}

impl RedriveFixture {
    /// With this `sources.toml` and these models, by name.
    pub async fn new(sources: &str, models: &[(&str, &str)]) -> RedriveFixture {
        let database = Database::new().await;
        let owner = database.owner().await;
        let pipeline = TempDir::new().expect("a folder");
        std::fs::create_dir(pipeline.path().join("models")).expect("a folder of models");
        let (aws, lambda) = (Aws::new().await, Lambda::start().await);
        let fixture = RedriveFixture { aws, database, owner, lambda, pipeline };
        for (name, text) in models {
            fixture.write_model(name, text);
        }
        fixture.write_sources(sources);
        for name in ["ingest-csv", "ingest-webhook", "transform"] {
            fixture.deploy(name, &[]).await;
        }
        fixture
    }

    pub fn write_model(&self, name: &str, text: &str) {
        let path = self.pipeline.path().join(format!("models/{name}.sql"));
        std::fs::write(path, text).expect("write a model");
    }

    pub fn write_sources(&self, text: &str) {
        std::fs::write(self.pipeline.path().join("sources.toml"), text).expect("write sources.toml");
    }

    /// Restarts a function, which reads `sources.toml` when it starts.
    pub async fn deploy(&self, name: &str, settings: &[(&str, &str)]) -> Arc<Function> {
        let role = if name == "transform" { "millrace_transform" } else { "millrace_ingest" };
        let function = self.spawn(name, role, settings).await;
        self.lambda.deploy(name, function)
    }

    async fn spawn(&self, name: &str, role: &str, settings: &[(&str, &str)]) -> Function {
        let mut environment = self.aws.variables(&self.database.url_for(role));
        let pipeline = self.pipeline.path().display().to_string();
        let own = [
            ("MILLRACE_PIPELINE", pipeline.as_str()),
            ("MILLRACE_INGEST_CSV_FUNCTION", "ingest-csv"),
            ("MILLRACE_INGEST_WEBHOOK_FUNCTION", "ingest-webhook"),
            ("MILLRACE_TRANSFORM_FUNCTION", "transform"),
            ("MILLRACE_REDRIVE_RATE", "100000"),
            ("AWS_ENDPOINT_URL_LAMBDA", self.lambda.endpoint()),
            ("SECRET", "token"),
        ];
        let all = own.iter().chain(settings);
        environment.extend(all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Function::spawn(&binary(name), &environment).await
    }

    /// A redrive function in a separate process.
    pub async fn redriver(&self, settings: &[(&str, &str)]) -> Function {
        self.spawn("redrive", "nobody", settings).await
    }

    /// Redrives the matching dead letters. Returns the summary without its reasons, which must have these codes.
    pub async fn redrive(&self, filter: Value) -> Value {
        let event = json!({ "action": "redrive", "filter": filter });
        self.redriver(&[]).await.invoke(&event, LONG + LONG).await.response()
    }

    /// [`Self::redrive`] of all dead letters, as (redriven, duplicate, void, failed, pending).
    pub async fn redrive_all(&self) -> [u64; 5] {
        counts(&self.redrive(json!({})).await)
    }

    /// Puts a file and loads it.
    pub async fn load(&self, key: &str, text: &str) {
        let event = self.aws.put(key, text.as_bytes().to_vec()).await;
        self.lambda.get("ingest-csv").invoke(&event, LONG).await.response();
    }

    /// Loads every object in the upload queue.
    pub async fn load_queued(&self) -> usize {
        let mut count = 0;
        for event in self.aws.continuations().await {
            self.lambda.get("ingest-csv").invoke(&event, LONG).await.response();
            count += 1;
        }
        count
    }

    /// Transforms the unprocessed events.
    pub async fn transform(&self) -> Value {
        self.lambda.get("transform").invoke(&json!({}), LONG).await.response()
    }

    pub async fn number(&self, sql: &str) -> i64 {
        number(&self.owner, sql).await
    }

    pub async fn dead_letters(&self, kind: DeadLetterKind) -> Vec<DeadLetter> {
        let mut dead_letters = self.aws.dead_letters().await;
        dead_letters.retain(|dead_letter| dead_letter.kind == kind);
        dead_letters
    }

    /// Sends the same dead letters once more, as SQS may deliver them.
    pub async fn repeat(&self, dead_letters: &[DeadLetter]) {
        for dead_letter in dead_letters {
            self.send(&dead_letter.to_body()).await;
        }
    }

    /// Sends a message to the dead-letter queue.
    pub async fn send(&self, body: &str) {
        let send = self.aws.clients.sqs.send_message().queue_url(&self.aws.dead_letter_queue_url);
        send.message_body(body).send().await.expect("send a dead letter");
    }

    /// The counts of the ledger reconcile for every transformed batch.
    pub async fn reconciles(&self) {
        let sql = "select count(*) from staging.batches where processed_at is not null
            and (staged_count <> transformed_count + quarantined_count + unmodelled_count
                or superseded_at is null and quarantined_count <> (
                    select count(distinct event_id) from pipeline.quarantine
                    where quarantine.batch_id = batches.batch_id))";
        assert_eq!(self.number(sql).await, 0, "the ledger and the quarantine agree");
    }
}

/// (redriven, duplicate, void, failed, pending) of a summary that left nothing.
pub fn counts(summary: &Value) -> [u64; 5] {
    assert_eq!(summary["more"], false, "{summary}");
    ["redriven", "duplicate", "void", "failed", "pending"]
        .map(|name| summary[name].as_u64().unwrap_or_else(|| panic!("{name} of {summary}")))
}
