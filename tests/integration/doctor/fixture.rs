//! A stack as `millrace dev` makes it, with its own server, because some checks are about roles, which belong to the
//! server.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_sdk_secretsmanager::Client as Secrets;
use aws_sdk_sqs::types::QueueAttributeName;
use http::HeaderMap;
use millrace::config::Sources;
use millrace::config::environment::Secret;
use millrace_cli::delivery::{self, Choice};
use millrace_cli::stack::postgres::Server;
use millrace_cli::stack::webhook_secrets;
use millrace_tests::aws::{Aws, sqs_event};
use millrace_tests::postgres::{ROLE_PASSWORD, client, number, prepare, start_server};
use millrace_tests::runtime_api::{Function, binary};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::webhook::client::{Form, Reply, WebhookClient};

const DATABASE: &str = "stack";
/// A timeout that suffices for every invocation.
pub const LONG: Duration = Duration::from_secs(60);

pub struct DoctorFixture {
    pub aws: Aws,
    pub owner: Client,
    pub secrets: Secrets,
    pub pipeline: TempDir,
    secret_values: Vec<(String, String)>,
    server: Server,
    _directory: TempDir,
}

/// The output of `millrace`.
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// A finding of `millrace doctor --json`.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub level: String,
    pub check: String,
    pub found: String,
    pub action: String,
}

impl DoctorFixture {
    /// An empty stack, with the sample's sources and models.
    pub async fn new() -> DoctorFixture {
        let (server, directory) = start_server(|_| {});
        let admin = client(&server.url("postgres")).await;
        admin.batch_execute(&format!("create database {DATABASE}")).await.expect("create a database");
        prepare(&server.url(DATABASE)).await;
        let owner = client(&server.url(DATABASE)).await;
        let aws = Aws::new().await;
        as_the_template_sets_them(&aws).await;

        let pipeline = TempDir::new().expect("a pipeline folder");
        let sample = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../pipeline");
        std::fs::create_dir(pipeline.path().join("models")).expect("a folder of models");
        for entry in std::fs::read_dir(sample.join("models")).expect("the sample's models") {
            let file = entry.expect("a model").path();
            let copy = pipeline.path().join("models").join(file.file_name().expect("a name"));
            std::fs::copy(&file, copy).expect("copy a model");
        }
        // This test has its own secrets, because the local AWS is shared.
        let sources = std::fs::read_to_string(sample.join("sources.toml")).expect("the sample's sources");
        let sources = sources.replace("secretsmanager:millrace/", &format!("secretsmanager:{}/", aws.bucket));
        std::fs::write(pipeline.path().join("sources.toml"), &sources).expect("sources.toml");
        let sources = Sources::parse("sources.toml", &sources).expect("sources");
        let secrets = millrace::aws::secretsmanager_client(&aws.address.config().await);
        let kept = directory.path().join("secrets");
        let secret_values =
            webhook_secrets::provide(&sources, &kept, &secrets, |_| None).await.expect("make the secrets");
        DoctorFixture { aws, owner, secrets, pipeline, secret_values, server, _directory: directory }
    }

    /// Adds the data of `millrace demo`: two files, two webhooks and a repeated one, facts, a rollup and a view.
    pub async fn with_demo() -> DoctorFixture {
        let fixture = DoctorFixture::new().await;
        let loader = fixture.function("ingest-csv").await;
        for (file, event_type) in [("airports.csv", "airports"), ("weather-with-errors.csv", "weather")] {
            fixture.load(&loader, &format!("incoming/demo/{event_type}/{file}"), sample_file(file)).await;
        }
        let client = fixture.client().await;
        for (source, event_type, file) in [
            ("github", "push", "github-push.json"),
            ("shopify", "orders/create", "shopify-orders-create.json"),
        ] {
            let body = sample_file(&format!("webhooks/{file}"));
            let id = Uuid::now_v7().to_string();
            fixture.post(&client, source, event_type, &id, &body).await.was(202, "stored");
            fixture.post(&client, source, event_type, &id, &body).await.was(202, "duplicate");
        }
        fixture.transform().await;
        fixture.refresh().await;
        fixture
    }

    pub fn url(&self) -> String {
        self.server.url(DATABASE)
    }

    pub fn url_for(&self, role: &str) -> String {
        self.server.url_for(role, ROLE_PASSWORD, DATABASE)
    }

    /// The environment variables of one function.
    fn environment(&self, role: &str) -> Vec<(String, String)> {
        let mut environment = self.aws.variables(&self.url_for(role));
        environment.push(("MILLRACE_PIPELINE".to_owned(), self.pipeline.path().display().to_string()));
        environment
    }

    /// Starts a function.
    pub async fn function(&self, name: &str) -> Function {
        let role = if name.starts_with("ingest") { "millrace_ingest" } else { "millrace_transform" };
        Function::spawn(&binary(name), &self.environment(role)).await
    }

    pub async fn client(&self) -> WebhookClient {
        WebhookClient::new(self.function("ingest-webhook").await)
    }

    /// Puts a file and loads it.
    pub async fn load(&self, loader: &Function, key: &str, body: impl Into<Vec<u8>>) {
        let event = self.aws.put(key, body).await;
        let response = loader.invoke(&event, LONG).await.response();
        assert_eq!(response, json!({ "batchItemFailures": [] }), "{:#?}", loader.logs());
    }

    /// Loads the next announced object of the upload queue.
    pub async fn load_next(&self, loader: &Function) {
        let event = sqs_event(&self.aws.next_upload().await);
        let response = loader.invoke(&event, LONG).await.response();
        assert_eq!(response, json!({ "batchItemFailures": [] }), "{:#?}", loader.logs());
    }

    /// Signs a body as the sender of `source` does, and posts it. Without an event type the body contains it.
    pub async fn post(
        &self,
        client: &WebhookClient,
        source: &str,
        event_type: &str,
        id: &str,
        body: &[u8],
    ) -> Reply {
        let sources = Sources::load(self.pipeline.path()).expect("sources");
        let webhook = sources.find_webhook(source).expect("a webhook");
        let variable = millrace_cli::sources::secret_variable(source);
        let (_, secret) = self.secret_values.iter().find(|(name, _)| *name == variable).expect("its secret");
        let event_type = Some(event_type).filter(|event_type| !event_type.is_empty());
        let choice = Choice { id: event_type.map(|_| id), event_type, new_id: id };
        let file = Path::new("body.json");
        let headers: HeaderMap =
            delivery::headers(webhook, &Secret::from(secret.as_str()), file, body, choice, SystemTime::now())
                .expect("sign");
        client.post(source, &headers, body, Form::Plain).await
    }

    /// Transforms the unprocessed events and returns the summary.
    pub async fn transform(&self) -> Value {
        self.function("transform").await.invoke(&json!({}), LONG).await.response()
    }

    pub async fn refresh(&self) -> Value {
        self.function("refresh").await.invoke(&json!({}), LONG).await.response()
    }

    pub async fn run(&self, sql: &str) {
        self.owner.batch_execute(sql).await.expect(sql);
    }

    pub async fn number(&self, sql: &str) -> i64 {
        number(&self.owner, sql).await
    }

    /// The environment variables of an operator.
    pub fn variables(&self) -> Vec<(String, String)> {
        let mut variables = self.aws.variables(&self.url());
        variables.push(("MILLRACE_PIPELINE".to_owned(), self.pipeline.path().display().to_string()));
        variables
    }

    pub async fn millrace(&self, arguments: &[&str]) -> Said {
        millrace(arguments, self.variables()).await
    }

    /// The findings of `millrace doctor` that are not `ok`, and its exit status. Files of any age count.
    pub async fn doctor(&self, arguments: &[&str]) -> (Option<i32>, Vec<Found>) {
        let said = self.millrace(&[&["doctor", "--json", "--unloaded-for", "0s"], arguments].concat()).await;
        (said.code, findings(&said))
    }

    /// Fails unless every check is `ok`.
    #[track_caller]
    pub fn is_healthy(doctor: (Option<i32>, Vec<Found>)) {
        assert_eq!(doctor, (Some(0), Vec::new()));
    }

    pub async fn set_queue(&self, queue_url: &str, name: QueueAttributeName, value: &str) {
        set_queue(&self.aws, queue_url, name, value).await;
    }
}

pub async fn millrace(arguments: &[&str], variables: Vec<(String, String)>) -> Said {
    let mut command = Command::new(binary("millrace"));
    command.args(arguments).env_clear().envs(variables).kill_on_drop(true);
    let ended = tokio::time::timeout(LONG, command.output()).await.expect("it ends within a minute");
    let output = ended.expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// The findings of `doctor --json` that are not `ok`.
pub fn findings(said: &Said) -> Vec<Found> {
    let report: Value =
        serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("no JSON: {}{}", said.out, said.err));
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    let all = report["findings"].as_array().expect("findings");
    assert!(all.len() > 5, "{}", said.out);
    let found: Vec<Found> = all
        .iter()
        .map(|finding| Found {
            level: text(finding, "level"),
            check: text(finding, "check"),
            found: text(finding, "found"),
            action: text(finding, "action"),
        })
        .filter(|finding| finding.level != "ok")
        .collect();
    let healthy = found.iter().all(|finding| finding.level == "warning");
    assert_eq!(report["healthy"], healthy, "{}", said.out);
    found
}

pub fn sample_file(name: &str) -> Vec<u8> {
    std::fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data").join(name)).expect(name)
}

/// Sets the queues as the template does. Other tests need no visibility timeout.
async fn as_the_template_sets_them(aws: &Aws) {
    let (uploads, dead_letters) = (&aws.upload_queue_url, &aws.dead_letter_queue_url);
    set_queue(aws, uploads, QueueAttributeName::VisibilityTimeout, "1800").await;
    set_queue(aws, uploads, QueueAttributeName::MessageRetentionPeriod, "1209600").await;
    set_queue(aws, dead_letters, QueueAttributeName::MessageRetentionPeriod, "1209600").await;
}

async fn set_queue(aws: &Aws, queue_url: &str, name: QueueAttributeName, value: &str) {
    let set = aws.clients.sqs.set_queue_attributes().queue_url(queue_url).attributes(name, value);
    set.send().await.expect("set a queue's attribute");
}
