//! What regular work costs as the ledger grows: each line at 10,000, 1,000,000 and 10,000,000 batches, and the ratios to
//! the first.
//!
//! `HISTORY='10000 1000000'` chooses other numbers of batches. The history is the most expensive one: webhooks that arrived
//! one at a time, so each event has a batch and a dedupe key of its own.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use millrace_tests::postgres::ROLE_PASSWORD;
use millrace_tests::runtime_api::{Function, binary};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::stack::Stack;
use crate::table::{median, print, thousands};
use crate::webhooks;

const FILL: &str = include_str!("fill.sql");
const BATCHES: &str = "10000 1000000 10000000";
/// The number of batches that one statement makes.
const STEP: i64 = 250_000;
const TIMEOUT: Duration = Duration::from_secs(900);

const MODEL: &str = "-- kind = \"fact\"
-- source = \"history/orders\"
-- key = [\"order_id\"]
select (payload->>'order_id')::bigint as order_id, (payload->>'total')::numeric as total from batch";

/// Queries and the names of their lines.
fn queries() -> [(&'static str, String); 8] {
    let events = |rest: &str| format!("select * from raw_events {rest}");
    [
        ("view pipeline.batch_counts", "select * from pipeline.batch_counts".to_owned()),
        ("view pipeline.lag", "select * from pipeline.lag".to_owned()),
        ("view pipeline.model_runs", "select * from pipeline.model_runs".to_owned()),
        ("raw_events, the newest five", events("order by received_at desc limit 5")),
        ("raw_events, unprocessed", events("where processed = false")),
        (
            "raw_events, one id",
            events("where id = (select id from staging.events order by received_at desc limit 1)"),
        ),
        (
            "raw_events, the newest five of a source",
            events("where source = 'history' order by received_at desc limit 5"),
        ),
        ("raw_events, one of an hour", events("where received_at > now() - interval '1 hour' limit 1")),
    ]
}

/// The environment of the measured programs.
struct History {
    stack: Stack,
    pipeline: TempDir,
    transform: Function,
    webhook: Function,
    csv: Function,
    variables: Vec<(String, String)>,
}

pub async fn run(rounds: usize) {
    let text = std::env::var("HISTORY").unwrap_or_else(|_| BATCHES.to_owned());
    let sizes: Vec<i64> =
        text.split_whitespace().map(|size| size.parse().expect("HISTORY has numbers")).collect();
    let history = History::start().await;
    let mut lines: Vec<(String, Vec<f64>)> = Vec::new();
    let mut batches = 0;
    for &size in &sizes {
        history.fill(batches, size).await;
        batches = size;
        for (name, milliseconds) in history.measure(rounds).await {
            eprintln!("{:>12} batches  {name:<44} {milliseconds:>10.1} ms", thousands(size as f64));
            match lines.iter_mut().find(|(known, _)| known == name) {
                Some((_, values)) => values.push(milliseconds),
                None => lines.push((name.to_owned(), vec![milliseconds])),
            }
        }
    }
    let headings: Vec<String> = sizes
        .iter()
        .flat_map(|size| [format!("{} ms", thousands(*size as f64)), "ratio".to_owned()])
        .collect();
    let mut headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    headings.remove(1);
    headings.insert(0, "");
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|(name, values)| {
            let mut row = vec![name.clone(), format!("{:.1}", values[0])];
            for value in &values[1..] {
                row.extend([format!("{value:.1}"), format!("{:.2} x", value / values[0])]);
            }
            row
        })
        .collect();
    let title = format!(
        "Regular work by the number of batches in the ledger, over 30 days, median of {rounds}\n{}",
        history.stack.describe().await
    );
    print(&title, &headings, &rows);
}

impl History {
    async fn start() -> History {
        let stack = Stack::start().await;
        let pipeline = TempDir::new().expect("a folder");
        std::fs::create_dir(pipeline.path().join("models")).expect("a folder of models");
        std::fs::write(pipeline.path().join("models/history_orders.sql"), MODEL).expect("write a model");
        std::fs::write(pipeline.path().join("sources.toml"), webhooks::SOURCES).expect("write sources.toml");
        let mut variables = stack.aws.variables(&stack.server.url("postgres"));
        variables.push(("MILLRACE_PIPELINE".to_owned(), pipeline.path().display().to_string()));
        let spawn = async |name: &str, role: &str| {
            let url = stack.server.url_for(role, ROLE_PASSWORD, "postgres");
            let mut environment = stack.aws.variables(&url);
            for (name, value) in [
                ("MILLRACE_PIPELINE", pipeline.path().to_str().expect("a path")),
                ("MILLRACE_LOG", "warn"),
                (webhooks::SECRET_NAME, webhooks::SECRET),
            ] {
                environment.push((name.to_owned(), value.to_owned()));
            }
            Function::spawn(&binary(name), &environment).await
        };
        let transform = spawn("transform", "millrace_transform").await;
        let webhook = spawn("ingest-webhook", "millrace_ingest").await;
        let csv = spawn("ingest-csv", "millrace_ingest").await;
        let history = History { transform, webhook, csv, variables, stack, pipeline };
        let partitions = "select staging.ensure_partition((now() at time zone 'UTC')::date - n) from generate_series(0, 31) as n";
        history.stack.owner.batch_execute(partitions).await.expect("partitions");
        // The version of the models that the history was processed by.
        history.transform().await;
        history
    }

    /// Grows the ledger from `from` to `to` batches.
    async fn fill(&self, from: i64, to: i64) {
        let mut from = from;
        while from < to {
            let until = to.min(from + STEP);
            self.stack.owner.execute(FILL, &[&from, &until]).await.expect("fill");
            from = until;
        }
        let vacuum = "vacuum (analyze) staging.batches, staging.events, staging.deliveries";
        self.stack.owner.batch_execute(vacuum).await.expect("vacuum");
        self.stack.owner.batch_execute("checkpoint").await.expect("a checkpoint");
    }

    /// The median duration of each line in milliseconds.
    async fn measure(&self, rounds: usize) -> Vec<(&'static str, f64)> {
        let mut measured = Vec::new();
        let insert = async |count: usize| {
            let sql = "insert into raw_events (source, event_type, payload) values ('history', 'orders', $1)";
            let payload = json!({ "order_id": count, "total": "1" });
            self.stack.owner.execute(sql, &[&payload]).await.expect("insert");
        };
        insert(0).await;
        measured.push(("transform, a batch", repeat(rounds, insert, async |_| self.transform().await).await));
        let nothing = async |_| {};
        measured.push((
            "transform, nothing to do",
            repeat(rounds, nothing, async |_| self.transform().await).await,
        ));
        measured.push((
            "ingest-webhook, a delivery",
            repeat(rounds, nothing, async |_| self.deliver().await).await,
        ));
        measured.push(("ingest-csv, a file of 1,000 rows", self.load(rounds).await));
        self.transform().await;
        for (name, query) in queries() {
            let run = async |_| {
                self.stack.owner.query(&query, &[]).await.expect(name);
            };
            measured.push((name, repeat(rounds, nothing, run).await));
        }
        for (name, arguments) in [
            ("millrace models run, nothing to do", &["models", "run"][..]),
            ("millrace models plan", &["models", "plan"]),
            ("millrace status --quick", &["status", "--quick"]),
            ("millrace status", &["status"]),
            ("millrace doctor", &["doctor"]),
            ("millrace dead-letters list", &["dead-letters", "list"]),
        ] {
            measured.push((name, repeat(rounds, nothing, async |_| self.command(arguments).await).await));
        }
        measured
    }

    async fn transform(&self) {
        self.transform.invoke(&json!({}), TIMEOUT).await.response();
    }

    async fn deliver(&self) {
        let answer =
            self.webhook.invoke(&webhooks::request(webhooks::next_number()), TIMEOUT).await.response();
        assert_eq!(answer["statusCode"], 202, "{answer}");
    }

    /// The upload of the file is not measured.
    async fn load(&self, rounds: usize) -> f64 {
        let text: String = (0..1_000).map(|row| format!("{row},a name,{row}.5\n")).collect();
        let file = self.pipeline.path().join("orders.csv");
        std::fs::write(&file, format!("id,name,total\n{text}")).expect("write a file");
        let mut durations = Vec::new();
        for _ in 0..rounds {
            let event = self.put(&file).await;
            let began = Instant::now();
            let answer = self.csv.invoke(&event, TIMEOUT).await.response();
            durations.push(milliseconds(began));
            assert_eq!(answer, json!({ "batchItemFailures": [] }));
        }
        median(&durations)
    }

    async fn put(&self, file: &Path) -> Value {
        let key = format!("incoming/history/files/{}.csv", uuid::Uuid::now_v7());
        self.stack.put(file, &key).await
    }

    /// `doctor` has findings, because no function is deployed.
    async fn command(&self, arguments: &[&str]) {
        let mut command = Command::new(binary("millrace"));
        command.args(arguments).env_clear().envs(self.variables.iter().cloned());
        let status =
            command.stdout(Stdio::null()).stderr(Stdio::null()).status().await.expect("millrace runs");
        assert!(status.success() || arguments == ["doctor"], "millrace {}: {status}", arguments.join(" "));
    }
}

fn milliseconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1_000.0
}

/// The median duration of `run` in milliseconds. `prepare` is not measured. The first of `rounds` + 1 is not counted.
async fn repeat(rounds: usize, prepare: impl AsyncFn(usize), run: impl AsyncFn(usize)) -> f64 {
    let mut durations = Vec::new();
    for round in 0..=rounds {
        prepare(round).await;
        let began = Instant::now();
        run(round).await;
        if round > 0 {
            durations.push(milliseconds(began));
        }
    }
    median(&durations)
}
