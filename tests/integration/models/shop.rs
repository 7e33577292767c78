//! A database with facts, and models as texts.

use std::time::{Duration, Instant};

use millrace::database::{Connection, Settings};
use millrace_models::deploy::{self, Deployment};
use millrace_models::project::Project;
use millrace_models::refresh::{self, RefreshLimits, RefreshSummary};
use millrace_tests::postgres::{Database, number};
use tempfile::TempDir;
use tokio_postgres::Client;
use uuid::Uuid;

pub const ORDERS: &str = "-- kind = \"fact\"
-- source = \"shop/orders\"
-- key = [\"order_id\"]
select
    (payload->>'order_id')::bigint as order_id,
    payload->>'customer' as customer,
    (payload->>'total')::numeric as total,
    (payload->>'ordered_at')::timestamptz as ordered_at
from batch";

pub const DAYS: &str = "-- kind = \"rollup\"
-- key = [\"day\", \"customer\"]
-- bucket = \"day\"
select date_trunc('day', ordered_at) as day, customer, count(*) as orders, sum(total) as total
from orders
group by 1, 2";

pub struct Shop {
    pub database: Database,
    pub owner: Client,
    files: Vec<(String, String)>,
}

impl Shop {
    /// Deploys these models, by name.
    pub async fn new(models: &[(&str, &str)]) -> Shop {
        let database = Database::new().await;
        let owner = database.owner().await;
        let mut shop = Shop { database, owner, files: Vec::new() };
        for (name, text) in models {
            shop.write(name, text);
        }
        shop.deployed().await;
        shop
    }

    pub fn write(&mut self, name: &str, text: &str) {
        self.remove(name);
        self.files.push((format!("models/{name}.sql"), text.to_owned()));
    }

    pub fn remove(&mut self, name: &str) {
        self.files.retain(|(file, _)| *file != format!("models/{name}.sql"));
    }

    pub fn project(&self) -> Project {
        Project::parse(&self.files)
    }

    /// A folder like `pipeline/`, as a function reads it.
    pub fn folder(&self) -> TempDir {
        let folder = TempDir::new().expect("a folder");
        std::fs::create_dir(folder.path().join("models")).expect("a folder of models");
        for (file, text) in &self.files {
            std::fs::write(folder.path().join(file), text).expect("write a model");
        }
        folder
    }

    pub fn connection(&self) -> Connection {
        let url = self.database.url_for("millrace_transform");
        Connection::new(Settings::parse(&url).expect("a connection string"))
    }

    pub async fn deploy(&self) -> Deployment {
        let deadline = Instant::now() + Duration::from_secs(60);
        deploy::deploy(&mut self.connection(), &self.project(), deadline).await.expect("deploy")
    }

    /// [`Self::deploy`], where every model must succeed.
    pub async fn deployed(&self) {
        let deployment = self.deploy().await;
        assert!(deployment.stopped.is_empty(), "{:?}", deployment.stopped);
    }

    pub async fn refresh(&self) -> RefreshSummary {
        let deadline = Instant::now() + Duration::from_secs(60);
        let limits =
            RefreshLimits { lock_timeout: Duration::from_millis(200), last_start: deadline, deadline };
        refresh::run(&mut self.connection(), &self.project(), Uuid::now_v7(), limits).await.expect("refresh")
    }

    /// [`Self::refresh`], where nothing may fail or be skipped. Returns what was recomputed.
    pub async fn refreshed(&self) -> Vec<String> {
        let summary = self.refresh().await;
        assert!(summary.failed.is_empty() && summary.skipped.is_empty(), "{summary:?}");
        summary.refreshed.into_keys().collect()
    }

    /// Runs statements as the owner.
    pub async fn run(&self, sql: &str) {
        self.owner.batch_execute(sql).await.expect(sql);
    }

    /// The number that a query returns.
    pub async fn number(&self, sql: &str) -> i64 {
        number(&self.owner, sql).await
    }

    /// Orders as facts, by SQL values: (order_id, customer, total, ordered_at).
    pub async fn orders(&self, values: &str) {
        self.run(&format!(
            "insert into facts.orders select *, now(), 0
             from (values {values}) as v (order_id, customer, total, ordered_at)"
        ))
        .await;
    }

    /// The relation of a model equals its query, row by row.
    pub async fn check(&self, name: &str) {
        let project = self.project();
        let query = &project.model(name).expect("a model").query;
        self.run("set search_path = facts; set timezone = 'UTC'").await;
        for (more, fewer) in [("there", "anew"), ("anew", "there")] {
            let sql = format!(
                "with anew as ({query}), there as (select * from facts.{name})
                 select count(*) from (select * from {more} except all select * from {fewer}) as difference"
            );
            assert_eq!(self.number(&sql).await, 0, "rows of {more} that are not in {fewer}");
        }
    }
}
