//! The environment of a benchmark: a durable PostgreSQL server, a local S3 and SQS, and the release build of the
//! function.

use std::path::Path;
use std::time::{Duration, Instant};

use millrace_cli::stack::postgres::Server;
use millrace_cli::upload::{UploadTarget, upload};
use millrace_tests::aws::{Aws, sqs_event};
use millrace_tests::postgres::{ROLE_PASSWORD, binaries, client, number, prepare, start_server};
use millrace_tests::runtime_api::{Function, binary};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_postgres::Client;

/// Far longer than any load here takes.
const TIMEOUT: Duration = Duration::from_secs(900);

pub struct Stack {
    pub aws: Aws,
    pub owner: Client,
    pub server: Server,
    pub directory: TempDir,
}

impl Stack {
    /// Every setting for durability is on. Memory is that of a small instance.
    pub async fn start() -> Stack {
        Stack::start_with(&[]).await
    }

    /// As [`Self::start`], with additional settings of the server.
    pub async fn start_with(settings: &[&str]) -> Stack {
        let (server, directory) = start_server(|options| {
            options.fast = false;
            options.settings.push("shared_buffers=1GB".to_owned());
            options.settings.extend(settings.iter().map(|&setting| setting.to_owned()));
        });
        prepare(&server.url("postgres")).await;
        let owner = client(&server.url("postgres")).await;
        Stack { aws: Aws::new().await, owner, server, directory }
    }

    pub async fn describe(&self) -> String {
        let version: String =
            self.owner.query_one("show server_version", &[]).await.expect("the version").get(0);
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        format!("{cores} cores, PostgreSQL {version} ({})", binaries().display())
    }

    pub async fn function(&self, settings: &[(&str, &str)]) -> Function {
        let url = self.server.url_for("millrace_ingest", ROLE_PASSWORD, "postgres");
        let mut environment = self.aws.variables(&url);
        environment.extend(settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        Function::spawn(&binary("ingest-csv"), &environment).await
    }

    /// Uploads `file` and returns the event of its notification. This time is never measured.
    pub async fn put(&self, file: &Path, key: &str) -> Value {
        let target = UploadTarget { bucket: self.aws.bucket.clone(), key: key.to_owned() };
        upload(&self.aws.clients.s3, file, &target, |_| {}).await.expect("upload");
        sqs_event(&self.aws.next_upload().await)
    }

    /// The time from the notification to the response, with everything committed. Checks that `rows` rows exist.
    pub async fn load(&self, function: &Function, event: &Value, rows: u64) -> Duration {
        let started = Instant::now();
        let answer = function.invoke(event, TIMEOUT).await.response();
        let took = started.elapsed();
        assert_eq!(answer, json!({ "batchItemFailures": [] }), "{:?}", function.logs());
        self.holds(rows).await;
        took
    }

    pub async fn holds(&self, rows: u64) {
        let found = number(&self.owner, "select count(*) from staging.events").await;
        assert_eq!(found, rows as i64, "rows in staging.events");
    }

    /// Empties the tables and runs a checkpoint, so that every contender starts from the same state.
    pub async fn reset(&self) {
        self.owner
            .batch_execute(
                "truncate staging.events, staging.loads, staging.load_results, staging.batches, staging.repairs, staging.deliveries",
            )
            .await
            .expect("empty the tables");
        self.owner.batch_execute("checkpoint").await.expect("a checkpoint");
    }
}
