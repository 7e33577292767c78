//! A database, a bucket, queues and a pipeline folder, and checks of their contents after a test.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use millrace::config::Sources;
use millrace::config::environment::Secret;
use millrace_tests::aws::Aws;
use millrace_tests::postgres::{Database, number};
use millrace_tests::runtime_api::{Function, binary};
use millrace_webhook::verify::sign;
use serde_json::Value;
use tempfile::TempDir;
use tokio_postgres::Client;

use super::client::WebhookClient;

/// A source for each preset, named after it. Additional sources for tests follow.
const SOURCES: &str = r#"
[standard.webhook]
preset = "standard"
secret = "env:SECRET_STANDARD"
[github.webhook]
preset = "github"
secret = "env:SECRET_GITHUB"
[stripe.webhook]
preset = "stripe"
secret = "env:SECRET_STRIPE"
[shopify.webhook]
preset = "shopify"
secret = "env:SECRET_SHOPIFY"
[slack.webhook]
preset = "slack"
secret = "env:SECRET_SLACK"
[hmac.webhook]
preset = "hmac"
secret = "env:SECRET_HMAC"
header = "X-Signature"
encoding = "base64"
algorithm = "sha512"
[bearer.webhook]
preset = "bearer"
secret = "env:SECRET_BEARER"
[basic.webhook]
preset = "basic"
secret = "env:SECRET_BASIC"
[api_key.webhook]
preset = "api_key"
secret = "env:SECRET_API_KEY"

# Its senders say in headers what a delivery is.
[orders.webhook]
preset = "hmac"
secret = "env:SECRET_ORDERS"
header = "X-Signature"
prefix = "sha256="
delivery_id = "header:X-Delivery"
event_type = ["header:X-Kind", "pointer:/kind", "order"]
[fixed.webhook]
preset = "bearer"
secret = "env:SECRET_FIXED"
delivery_id = "header:X-Delivery"
event_type = "order"
invalid_characters = "replace"
[unset.webhook]
preset = "bearer"
secret = "env:SECRET_THAT_IS_NOT_SET"
"#;

const SECRETS: [(&str, &str); 11] = [
    ("standard", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    ("github", "It's a Secret to Everybody"),
    ("stripe", "whsec_of_stripe"),
    ("shopify", "test-webhook-secret"),
    ("slack", "8f742231b10e8888abcd99yyyzzz85a5"),
    ("hmac", "of-hmac"),
    ("bearer", "token-of-bearer"),
    ("basic", "user:p4ssw0rd"),
    ("api_key", "key-of-api"),
    ("orders", "of-orders"),
    ("fixed", "token-of-fixed"),
];

static KNOWN: LazyLock<Sources> = LazyLock::new(|| Sources::parse("sources.toml", SOURCES).expect("sources"));

/// The secret of a source.
pub fn secret(source: &str) -> &'static str {
    SECRETS.iter().find(|(name, _)| *name == source).expect("a source with a secret").1
}

/// The headers that the sender of `source` sends with `body`.
pub fn signed(source: &str, id: &str, body: &[u8]) -> HeaderMap {
    signed_at(source, id, body, SystemTime::now())
}

pub fn signed_at(source: &str, id: &str, body: &[u8], now: SystemTime) -> HeaderMap {
    let scheme = &KNOWN.webhook(source).expect("a source").scheme;
    let mut headers = sign(scheme, &Secret::from(secret(source)), id, body, now).expect("sign");
    let more: &[(&'static str, &str)] = match source {
        "github" => &[("x-github-delivery", id), ("x-github-event", "issues")],
        "shopify" => &[("x-shopify-webhook-id", id), ("x-shopify-topic", "orders/create")],
        "orders" | "fixed" => &[("x-delivery", id)],
        _ => &[],
    };
    for (name, value) in more {
        headers
            .insert(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header's value"));
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers
}

/// A row of raw_events.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub id: i64,
    pub source: String,
    pub event_type: String,
    pub payload: Value,
}

pub struct WebhookFixture {
    pub aws: Aws,
    pub database: Database,
    pub owner: Client,
    pipeline: TempDir,
}

impl WebhookFixture {
    pub async fn new() -> WebhookFixture {
        WebhookFixture::with_sources("").await
    }

    /// With additional sources.
    pub async fn with_sources(more: &str) -> WebhookFixture {
        let database = Database::new().await;
        let owner = database.owner().await;
        let pipeline = TempDir::new().expect("a pipeline folder");
        std::fs::write(pipeline.path().join("sources.toml"), format!("{SOURCES}\n{more}"))
            .expect("sources.toml");
        WebhookFixture { aws: Aws::new().await, database, owner, pipeline }
    }

    /// Starts the function.
    pub async fn open(&self, settings: &[(&str, &str)]) -> WebhookClient {
        let mut environment = self.aws.variables(&self.database.url_for("millrace_ingest"));
        environment.extend(
            SECRETS.map(|(source, secret)| (format!("SECRET_{}", source.to_uppercase()), secret.to_owned())),
        );
        let pipeline = self.pipeline.path().display().to_string();
        // A setting of the test overrides one of the fixture.
        let own = [("MILLRACE_PIPELINE", &*pipeline), ("AWS_LAMBDA_MAX_CONCURRENCY", "64")];
        let settings = own.iter().chain(settings);
        environment.extend(settings.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        WebhookClient::new(Function::spawn(&binary("ingest-webhook"), &environment).await)
    }

    /// All of raw_events, in the order of their ids.
    pub async fn rows(&self) -> Vec<Row> {
        let query = "select id, source, event_type, payload from raw_events order by id";
        let rows = self.owner.query(query, &[]).await.expect("read raw_events");
        rows.iter()
            .map(|row| Row {
                id: row.get(0),
                source: row.get(1),
                event_type: row.get(2),
                payload: row.get(3),
            })
            .collect()
    }

    pub async fn number(&self, query: &str) -> i64 {
        number(&self.owner, query).await
    }

    pub async fn row_count(&self) -> i64 {
        self.number("select count(*) from raw_events").await
    }

    pub async fn batch_count(&self) -> i64 {
        self.number("select count(*) from staging.batches").await
    }

    /// How often each payload's `n` is in raw_events.
    pub async fn counted(&self) -> BTreeMap<i64, i64> {
        let query = "select (payload->>'n')::bigint, count(*) from raw_events group by 1";
        let rows = self.owner.query(query, &[]).await.expect("count");
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    /// The ledger and the events agree.
    pub async fn reconciles(&self) {
        let differing = "select count(*) from staging.batches b
            full join (select batch_id, count(*) as counted from staging.events group by batch_id) e using (batch_id)
            where b.staged_count is distinct from coalesce(e.counted, 0)
               or (b.payload_bytes > 0) is distinct from (b.staged_count > 0)
               or b.read_count is distinct from b.staged_count + b.rejected_count
               or b.repaired_count is distinct from
                  (select count(*) from staging.repairs r where r.batch_id = b.batch_id)";
        assert_eq!(self.number(differing).await, 0, "batches differ from their events");
        let rows = "select count(*) from staging.events";
        assert_eq!(self.row_count().await, self.number(rows).await, "the view shows every event");
    }

    pub async fn execute(&self, statements: &str) {
        self.owner.batch_execute(statements).await.expect(statements);
    }

    /// Waits until `sql`, a query for a boolean, is true.
    pub async fn until(&self, sql: &str) {
        for _ in 0..400 {
            if self.owner.query_one(sql, &[]).await.expect(sql).get(0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("not within ten seconds: {sql}");
    }

    /// Another session of the owner.
    pub async fn session(&self) -> Client {
        self.database.owner().await
    }

    /// Blocks every flush until the session commits or ends.
    pub async fn block(&self) -> Client {
        let session = self.session().await;
        session.batch_execute("begin; lock table staging.batches in share mode").await.expect("lock");
        session
    }

    /// Waits until a session of the function waits for a lock.
    pub async fn until_blocked(&self) {
        self.until(
            "select count(*) > 0 from pg_stat_activity
             where usename = 'millrace_ingest' and datname = current_database() and wait_event_type = 'Lock'",
        )
        .await;
    }

    /// Ends every session of the function and returns their number.
    pub async fn end_sessions(&self) -> i64 {
        self.number(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity
             where usename = 'millrace_ingest' and datname = current_database()",
        )
        .await
    }
}
