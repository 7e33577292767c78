//! dbt over `raw_events`: dbt runs the project in `tests/data/dbt` as a role with only its documented grants.

use std::path::{Path, PathBuf};
use std::process::Output;

use millrace_cli::checkout::Checkout;
use millrace_tests::postgres::{Database, ROLE_PASSWORD, number};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tokio_postgres::Client;

fn checkout() -> PathBuf {
    Checkout::find().unwrap().root().to_owned()
}

fn project() -> PathBuf {
    checkout().join("tests/data/dbt")
}

/// A database that dbt may read, and a folder for its output.
struct Dbt {
    database: Database,
    /// Roles belong to the whole server, so each test has its own role.
    role: String,
    scratch: TempDir,
}

impl Dbt {
    async fn new() -> Dbt {
        let database = Database::new().await;
        let role = format!("dbt_{}", database.name());
        let grants = std::fs::read_to_string(project().join("grants.sql")).unwrap();
        let grants = grants.replace("role dbt ", &format!("role {role} "));
        let grants = grants.replace("to dbt;", &format!("to {role};"));
        let grants = grants.replace("authorization dbt;", &format!("authorization {role};"));
        let owner = database.owner().await;
        owner.batch_execute(&grants).await.expect("grants.sql");
        owner.batch_execute(&format!("alter role {role} password '{ROLE_PASSWORD}'")).await.unwrap();
        Dbt { database, role, scratch: TempDir::new().unwrap() }
    }

    /// A session of dbt's role.
    async fn session(&self) -> Client {
        self.database.role(&self.role).await
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let program = checkout().join(".tools/dbt/bin/dbt");
        assert!(
            program.is_file(),
            "dbt is not installed in .tools/dbt: `make test` installs it and runs the tests"
        );
        let mut command = Command::new(program);
        command.args(arguments).arg("--project-dir").arg(project()).arg("--profiles-dir").arg(project());
        command
            .arg("--target-path")
            .arg(self.target())
            .arg("--log-path")
            .arg(self.scratch.path().join("logs"));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.scratch.path());
        command.env("PGHOST", "127.0.0.1").env("PGPORT", self.database.port().to_string());
        command
            .env("PGDATABASE", self.database.name())
            .env("PGUSER", &self.role)
            .env("PGPASSWORD", ROLE_PASSWORD);
        command.kill_on_drop(true).output().await.unwrap()
    }

    /// Runs dbt, which must succeed, and returns its output.
    async fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
        assert!(!said.contains("eprecat"), "{said}");
        said
    }

    fn target(&self) -> PathBuf {
        self.scratch.path().join("target")
    }

    /// The status of a node in the last run and, for a test, the number of failing rows.
    fn result(&self, node: &str) -> (String, Option<i64>) {
        let results = json(&self.target().join("run_results.json"));
        let results = results["results"].as_array().unwrap();
        let named = |result: &&Value| result["unique_id"].as_str().unwrap().split('.').nth(2) == Some(node);
        let result = results.iter().find(named).unwrap_or_else(|| panic!("{node} in {results:#?}"));
        (result["status"].as_str().unwrap().to_owned(), result["failures"].as_i64())
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Inserts orders, given as `order_id, status, total`, as one batch.
async fn insert(client: &Client, orders: &[(&str, &str, &str)]) {
    let values: Vec<String> = orders
        .iter()
        .map(|(id, status, total)| {
            format!("('shop', 'orders', '{{\"order_id\": \"{id}\", \"status\": \"{status}\", \"total\": \"{total}\"}}')")
        })
        .collect();
    let sql = format!("insert into raw_events (source, event_type, payload) values {}", values.join(", "));
    client.batch_execute(&sql).await.unwrap();
}

/// Loads an order as a version of one object through the ledger. Each version supersedes the one before.
async fn load_version(ingest: &Client, version: i32, order_id: i64) {
    ingest
        .batch_execute(&format!(
            "do $$ declare
                 load uuid := gen_random_uuid();
                 batch uuid := gen_random_uuid();
                 received timestamptz := clock_timestamp();
             begin
                 insert into loads (load_id, origin, object, source, event_type, sequencer, on_new_version, plan)
                 values (load, 's3://b/k?version={version}', 's3://b/k', 'shop', 'orders', '0{version}', 'replace', '{{}}');
                 perform ensure_partition((received at time zone 'UTC')::date);
                 insert into events (received_at, batch_id, source, event_type, payload)
                 values (received, batch, 'shop', 'orders', '{{\"order_id\": {order_id}, \"status\": \"placed\", \"total\": 1}}');
                 insert into batches (batch_id, load_id, origin, source, event_type, received_at, read_count, staged_count)
                 values (batch, load, 's3://b/k?version={version}#0', 'shop', 'orders', received, 1, 1);
                 perform finish_load(load, 'loaded', 1, null);
             end $$"
        ))
        .await
        .expect("a version");
}

/// Every row of the models that are tables, in order, as text.
async fn tables(client: &Client) -> Vec<String> {
    let sql = "select 'event ' || f::text from analytics.fct_order_events as f
               union all select 'order ' || o::text from analytics.orders as o order by 1";
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn orders(client: &Client) -> Vec<(i64, String, Option<String>)> {
    let sql = "select order_id, status, total::text from analytics.orders order by order_id";
    client.query(sql, &[]).await.unwrap().iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

fn order(id: i64, status: &str, total: &str) -> (i64, String, Option<String>) {
    (id, status.to_owned(), Some(total.to_owned()))
}

#[tokio::test]
async fn incremental_facts_are_those_of_a_full_refresh_whenever_batches_commit() {
    let dbt = Dbt::new().await;
    let (ingest, late) =
        (dbt.database.role("millrace_ingest").await, dbt.database.role("millrace_ingest").await);
    // Received first and committed last, after later batches were read by dbt.
    late.batch_execute("begin").await.unwrap();
    insert(&late, &[("1", "placed", "1.00"), ("5", "placed", "5.00")]).await;
    insert(&ingest, &[("1", "paid", "10.00"), ("2", "placed", "20.00"), ("2", "paid", "20.50")]).await;
    insert(&ingest, &[("3", "placed", "a lot")]).await;
    ingest
        .batch_execute("insert into raw_events (source, event_type, payload) values ('shop', 'visits', '{}')")
        .await
        .unwrap();
    load_version(&ingest, 1, 100).await;

    dbt.succeed(&["build"]).await;
    let session = dbt.session().await;
    assert_eq!(
        orders(&session).await,
        [
            order(1, "paid", "10.00"),
            order(2, "paid", "20.50"),
            (3, "placed".to_owned(), None),
            order(100, "placed", "1"),
        ]
    );
    // A value that cannot be cast is reported and does not stop the run.
    assert_eq!(dbt.result("not_null_fct_order_events_total"), ("warn".to_owned(), Some(1)));
    assert_eq!(dbt.result("unique_orders_order_id"), ("pass".to_owned(), Some(0)));

    late.batch_execute("commit").await.unwrap();
    insert(&ingest, &[("3", "shipped", "30.00"), ("4", "placed", "40.00")]).await;
    load_version(&ingest, 2, 101).await;
    dbt.succeed(&["build"]).await;
    let built = tables(&session).await;
    assert_eq!(
        orders(&session).await,
        [
            // The late batch is read, although it is older.
            order(1, "paid", "10.00"),
            order(2, "paid", "20.50"),
            order(3, "shipped", "30.00"),
            order(4, "placed", "40.00"),
            order(5, "placed", "5.00"),
            // The first version's order is removed with it.
            order(101, "placed", "1"),
        ]
    );
    let fact = "select count(*) from analytics.fct_order_events";
    let raw = "select count(*) from staging.raw_events where event_type = 'orders'";
    assert_eq!(number(&session, fact).await, number(&session, raw).await);

    // Without new batches nothing is read a second time.
    dbt.succeed(&["run"]).await;
    assert_eq!(tables(&session).await, built);
    dbt.succeed(&["build", "--full-refresh"]).await;
    assert_eq!(tables(&session).await, built);
    // What dbt has read does not affect Millrace's own transforms.
    assert_eq!(number(&session, "select count(*) from staging.raw_events where processed").await, 0);
}

#[tokio::test]
async fn an_unknown_status_fails_the_build_and_the_facts_exist() {
    let dbt = Dbt::new().await;
    insert(&dbt.database.role("millrace_ingest").await, &[("1", "eaten", "1")]).await;
    assert_eq!(dbt.run(&["build"]).await.status.code(), Some(1));
    let test = "accepted_values_orders_status__placed__paid__shipped__cancelled";
    assert_eq!(dbt.result(test), ("fail".to_owned(), Some(1)));
    assert_eq!(orders(&dbt.session().await).await, [order(1, "eaten", "1")]);
}

#[tokio::test]
async fn only_new_batches_are_read_and_freshness_reads_no_event() {
    let dbt = Dbt::new().await;
    let owner = dbt.database.owner().await;
    // Five days of 40 batches of 100 events, the newest of them two days old.
    owner
        .batch_execute(
            "select ensure_partition((now() at time zone 'UTC')::date - day) from generate_series(0, 8) as day;
             create temp table made as
                 select gen_random_uuid() as batch_id, n,
                        date_trunc('day', now(), 'UTC') - interval '1 day' - interval '36 minutes' * n as received_at
                 from generate_series(1, 200) as n;
             insert into batches (batch_id, origin, source, event_type, received_at, read_count, staged_count)
                 select batch_id, 'o' || n, 'shop', 'orders', received_at, 100, 100 from made;
             insert into events (received_at, batch_id, source, event_type, payload)
                 select received_at, batch_id, 'shop', 'orders',
                        jsonb_build_object('order_id', n * 1000 + i, 'status', 'placed', 'total', i)
                 from made, generate_series(1, 100) as i;
             analyze events; analyze batches",
        )
        .await
        .unwrap();
    dbt.succeed(&["run"]).await;
    let stale = dbt.run(&["source", "freshness"]).await;
    assert_eq!(stale.status.code(), Some(1), "the newest order is more than a day old");

    insert(&dbt.database.role("millrace_ingest").await, &[("1", "placed", "1.00")]).await;
    dbt.succeed(&["source", "freshness"]).await;
    dbt.succeed(&["compile", "--select", "fct_order_events"]).await;
    let model = dbt.target().join("compiled/millrace_example/models/fct_order_events.sql");
    let model = std::fs::read_to_string(model).unwrap();
    assert!(model.contains("not exists"), "incremental: {model}");
    let session = dbt.session().await;
    let plan = explain(&session, &model).await;
    assert_eq!(plan["Actual Rows"].as_f64(), Some(1.0), "{plan:#}");
    let read = partitions_read(&plan);
    assert_eq!(read.len(), 1, "the new batch is of one day: {read:?}\n{plan:#}");

    let manifest = json(&dbt.target().join("manifest.json"));
    let source = &manifest["sources"]["source.millrace_example.millrace.raw_events"];
    let freshness = source["loaded_at_query"].as_str().expect("a query");
    assert_eq!(partitions_read(&explain(&session, freshness).await), Vec::<String>::new());
}

async fn explain(client: &Client, sql: &str) -> Value {
    let plan: Value =
        client.query_one(&format!("explain (analyze, format json) {sql}"), &[]).await.unwrap().get(0);
    plan[0]["Plan"].clone()
}

/// The partitions of events that a plan scanned.
fn partitions_read(node: &Value) -> Vec<String> {
    let name = node["Relation Name"].as_str().unwrap_or_default();
    let own =
        (name.starts_with("events_") && node["Actual Loops"].as_f64() > Some(0.0)).then(|| name.to_owned());
    own.into_iter().chain(node["Plans"].as_array().into_iter().flatten().flat_map(partitions_read)).collect()
}

#[tokio::test]
async fn the_role_of_dbt_reads_two_relations_and_writes_its_own_schema() {
    let dbt = Dbt::new().await;
    let session = dbt.session().await;
    session
        .batch_execute(
            "select * from staging.raw_events; select * from staging.batches; create table analytics.t ()",
        )
        .await
        .unwrap();
    for sql in [
        "select * from staging.events",
        "select * from staging.loads",
        "insert into staging.raw_events (source, event_type, payload) values ('a', 'b', '{}')",
        "update staging.batches set processed_at = now()",
        "create table staging.mine ()",
        "create table facts.mine ()",
    ] {
        let error = session.batch_execute(sql).await.expect_err(sql);
        assert_eq!(error.code().unwrap().code(), "42501", "{sql}");
    }
}

/// Each block of code in docs/dbt.md follows a line that names its file, and is in it word for word.
#[test]
fn the_documentation_shows_what_is_tested() {
    let text = std::fs::read_to_string(checkout().join("docs/dbt.md")).unwrap();
    let (mut file, mut block, mut blocks) = (String::new(), String::new(), 0);
    for line in text.lines().chain(["end"]) {
        if line.starts_with("    ") || (line.is_empty() && !block.is_empty()) {
            block.push_str(line.strip_prefix("    ").unwrap_or(line));
            block.push('\n');
            continue;
        }
        if !block.is_empty() {
            let content = std::fs::read_to_string(checkout().join(&file)).expect(&file);
            let lines = format!("\n{}\n", block.trim_end());
            assert!(format!("\n{content}").contains(&lines), "{file} has not\n{block}");
            block.clear();
            blocks += 1;
        }
        if let Some(name) = line.strip_suffix("`:").and_then(|line| line.rsplit('`').next()) {
            file = name.to_owned();
        }
    }
    assert!(blocks >= 4, "{blocks}");
}
