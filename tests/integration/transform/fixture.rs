//! A database, a dead-letter queue and a folder of models.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use millrace::Result;
use millrace::database::{Connection, Settings};
use millrace::dead_letter::{DeadLetter, DeadLetterQueue};
use millrace_models::project::Project;
use millrace_models::transform::{self, ClaimBounds, TransformLimits, TransformSummary};
use millrace_tests::aws::Aws;
use millrace_tests::postgres::{Database, number};
use tempfile::TempDir;
use tokio_postgres::Client;
use uuid::Uuid;

/// Orders. The later event wins.
pub const ORDERS: &str = "-- kind = \"fact\"
-- source = \"shop/orders\"
-- key = [\"order_id\"]
select
    (payload->>'order_id')::bigint as order_id,
    (payload->>'total')::numeric(12,2) as total,
    payload->>'note' as note
from batch";

/// Computes by another query what [`ORDERS`] must make of every event in raw_events that can be cast.
pub const ORDERS_ANEW: &str = "select distinct on (order_id) order_id, total, note from (
    select (payload->>'order_id')::bigint as order_id, (payload->>'total')::numeric(12,2) as total,
        payload->>'note' as note, received_at, id
    from raw_events
    where source = 'shop' and event_type = 'orders' and payload->>'total' ~ '^[0-9.]+$'
) as event order by order_id, received_at desc, id desc";

pub struct TransformFixture {
    pub database: Database,
    pub aws: Aws,
    pub owner: Client,
    pub pipeline: TempDir,
    pub bounds: ClaimBounds,
}

impl TransformFixture {
    /// With these models, by name.
    pub async fn new(models: &[(&str, &str)]) -> TransformFixture {
        let database = Database::new().await;
        let owner = database.owner().await;
        let pipeline = TempDir::new().expect("a folder");
        std::fs::create_dir(pipeline.path().join("models")).expect("a folder of models");
        let fixture = TransformFixture {
            database,
            aws: Aws::new().await,
            owner,
            pipeline,
            bounds: ClaimBounds::default(),
        };
        for (name, text) in models {
            fixture.write(name, text);
        }
        fixture
    }

    /// Writes a model's file.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.models().join(format!("{name}.sql")), text).expect("write a model");
    }

    fn models(&self) -> std::path::PathBuf {
        self.pipeline.path().join("models")
    }

    pub fn project(&self) -> Project {
        Project::load(Path::new(self.pipeline.path())).expect("read the models")
    }

    pub fn connection(&self) -> Connection {
        let url = self.database.url_for("millrace_transform");
        Connection::new(Settings::parse(&url).expect("a connection string"))
    }

    pub fn dead_letter_queue(&self) -> DeadLetterQueue {
        let clients = self.aws.clients.clone();
        let settings = millrace::dead_letter::Settings {
            queue_url: self.aws.dead_letter_queue_url.clone(),
            bucket: self.aws.bucket.clone(),
            message_bytes: 1 << 20,
        };
        DeadLetterQueue::new(clients.sqs, clients.objects, settings)
    }

    /// Transforms the unprocessed events, as one worker does.
    pub async fn transform(&self) -> Result<TransformSummary> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let limits = TransformLimits {
            bounds: self.bounds,
            idle_poll: Duration::ZERO,
            last_claim: deadline,
            deadline,
        };
        let run_id = Uuid::now_v7();
        transform::run(&mut self.connection(), &self.project(), &self.dead_letter_queue(), run_id, limits)
            .await
    }

    /// [`Self::transform`], where no event may stay unprocessed.
    pub async fn transformed(&self) -> TransformSummary {
        let summary = self.transform().await.expect("transform");
        assert!(summary.waiting.is_empty(), "{:?}", summary.waiting);
        summary
    }

    /// Runs statements as the owner.
    pub async fn run(&self, sql: &str) {
        self.owner.batch_execute(sql).await.expect(sql);
    }

    /// The number that a query returns.
    pub async fn number(&self, sql: &str) -> i64 {
        number(&self.owner, sql).await
    }

    /// Inserts a batch of shop/orders, with one event for each of `rows`, a list of (order_id, total, note).
    pub async fn orders(&self, rows: &[(i64, &str, &str)]) {
        let values: Vec<String> = rows
            .iter()
            .map(|(id, total, note)| {
                format!("('shop', 'orders', '{{\"order_id\": {id}, \"total\": \"{total}\", \"note\": \"{note}\"}}')")
            })
            .collect();
        self.run(&format!(
            "insert into raw_events (source, event_type, payload) values {}",
            values.join(", ")
        ))
        .await;
    }

    /// Inserts `count` orders in one batch: ids from `from`, each with the total `total`.
    pub async fn many_orders(&self, from: i64, count: i64, total: &str) {
        self.run(&format!(
            "insert into raw_events (source, event_type, payload)
             select 'shop', 'orders', jsonb_build_object('order_id', n, 'total', '{total}', 'note', 'n' || n)
             from generate_series({from}, {from} + {count} - 1) as n"
        ))
        .await;
    }

    /// The rows of facts.orders by id: total and note.
    pub async fn facts(&self) -> BTreeMap<i64, (String, String)> {
        let rows = self
            .owner
            .query("select order_id, total::text, coalesce(note, '') from facts.orders", &[])
            .await
            .expect("read the facts");
        rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect()
    }

    /// facts.orders equals [`ORDERS_ANEW`] over raw_events, row by row.
    pub async fn check_orders(&self) {
        for (more, fewer) in [("facts", "anew"), ("anew", "facts")] {
            let sql = format!(
                "with anew as ({ORDERS_ANEW}), facts as (select order_id, total, note from facts.orders)
                 select count(*) from (select * from {more} except all select * from {fewer}) as difference"
            );
            assert_eq!(self.number(&sql).await, 0, "rows of {more} that are not in {fewer}");
        }
        self.check_counts().await;
    }

    /// Every event is processed, and every count reconciles.
    pub async fn check_counts(&self) {
        let unprocessed = "select count(*) from staging.batches where processed_at is null";
        assert_eq!(self.number(unprocessed).await, 0);
        let wrong = "select count(*) from staging.batches
             where staged_count <> transformed_count + quarantined_count + unmodelled_count";
        assert_eq!(self.number(wrong).await, 0);
    }

    pub async fn dead_letters(&self) -> Vec<DeadLetter> {
        self.aws.dead_letters().await
    }
}
