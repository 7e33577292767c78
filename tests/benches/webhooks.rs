//! Stores webhooks as one durable row each, and compares it with pgbench's one-row transactions.
//!
//! Both use the same server, table and payload. pgbench only inserts one row per transaction. The flush path adds
//! dedupe keys and the ledger. The function adds HTTP, the signature and JSON through the Runtime API.

use std::future::poll_fn;
use std::path::Path;
use std::pin::pin;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::join_all;
use ingest_webhook::store::group::FlushBounds;
use ingest_webhook::store::{Delivery, DeliveryEvent, Store, Stored, writer};
use millrace::config::environment::Secret;
use millrace::database::{Connection, Settings};
use millrace_tests::postgres::{ROLE_PASSWORD, number, psql_folder};
use millrace_tests::runtime_api::{Function, binary};
use millrace_webhook::Scheme;
use millrace_webhook::verify::sign;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::stack::Stack;
use crate::table::{median, print, thousands};

/// The duration of each contender in a round.
const PERIOD: Duration = Duration::from_secs(4);
const IN_FLIGHT: [usize; 3] = [1, 8, 64];
pub const SECRET_NAME: &str = "BENCH_SECRET";
pub const SECRET: &str = "bench-secret";
/// One source, signed as GitHub signs.
pub const SOURCES: &str =
    "[bench.webhook]\npreset = \"github\"\nsecret = \"env:BENCH_SECRET\"\ndedupe = \"id\"\n";
const CONTENDERS: [&str; 3] = ["pgbench, a row a transaction", "flush path", "ingest-webhook, Runtime API"];

/// The result of one contender in one round.
#[derive(Debug, Clone, Copy)]
struct Sample {
    rate: f64,
    p50: f64,
    p99: f64,
}

/// The local disk, and a disk whose flush takes three milliseconds more, as with network storage. A committing session
/// sleeps before it flushes, and other commits join its flush, as with a slow disk.
const DISKS: [(&str, &[&str]); 2] =
    [("this disk", &[]), ("log flushed 3 ms later", &["commit_delay=3000", "commit_siblings=0"])];

pub async fn run(rounds: usize) {
    for (disk, settings) in DISKS {
        compare(rounds, disk, settings).await;
    }
}

async fn compare(rounds: usize, disk: &str, settings: &[&str]) {
    let stack = Stack::start_with(settings).await;
    let pipeline = pipeline();
    let url = stack.server.url_for("millrace_ingest", ROLE_PASSWORD, "postgres");
    let mut rows = Vec::new();
    for in_flight in IN_FLIGHT {
        let mut samples: [Vec<Sample>; 3] = Default::default();
        let limit = in_flight.to_string();
        let mut environment = stack.aws.variables(&url);
        for (name, value) in [
            ("MILLRACE_PIPELINE", pipeline.path().to_str().expect("a path")),
            (SECRET_NAME, SECRET),
            ("AWS_LAMBDA_MAX_CONCURRENCY", &limit),
            ("MILLRACE_LOG", "warn"),
        ] {
            environment.push((name.to_owned(), value.to_owned()));
        }
        let function = Function::spawn(&binary("ingest-webhook"), &environment).await;
        // The first round warms connections and caches and is not counted.
        for round in 0..=rounds {
            for (index, name) in CONTENDERS.iter().enumerate() {
                stack.reset_deliveries().await;
                let sample = match index {
                    0 => pgbench(&stack, in_flight),
                    1 => flush_path(&url, in_flight).await,
                    _ => through_runtime_api(&function, in_flight).await,
                };
                if round > 0 {
                    samples[index].push(sample);
                }
                eprintln!(
                    "{in_flight:>2} in flight, round {round}/{rounds}  {name:<28} {:>8.0}/s  p50 {:.2} ms  p99 {:.2} ms",
                    sample.rate, sample.p50, sample.p99
                );
            }
        }
        let of = |index: usize, pick: fn(&Sample) -> f64| {
            median(&samples[index].iter().map(pick).collect::<Vec<_>>())
        };
        for (index, name) in CONTENDERS.iter().enumerate() {
            rows.push(vec![
                format!("{in_flight} in flight: {name}"),
                thousands(of(index, |sample| sample.rate)),
                format!("{:.2} x", of(index, |sample| sample.rate) / of(0, |sample| sample.rate)),
                format!("{:.2}", of(index, |sample| sample.p50)),
                format!("{:.2}", of(index, |sample| sample.p99)),
            ]);
        }
    }
    print(
        &format!("Webhooks of 1 KB, one event each, {disk}, median of {rounds}\n{}", stack.describe().await),
        &["", "deliveries/s", "against pgbench", "p50 ms", "p99 ms"],
        &rows,
    );
}

fn pipeline() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("sources.toml"), SOURCES).expect("write sources.toml");
    folder
}

/// About 1 KB of JSON, different for every number.
fn payload(number: u64) -> String {
    json!({
        "number": number,
        "action": "opened",
        "sender": { "id": 4711, "login": "ada" },
        "text": "x".repeat(900),
    })
    .to_string()
}

fn pgbench(stack: &Stack, clients: usize) -> Sample {
    let folder = stack.directory.path();
    let script = folder.join("insert.sql");
    std::fs::write(
        &script,
        format!(
            "insert into staging.events (received_at, batch_id, source, event_type, payload) \
             values (now(), '0190f8a0-0000-7000-8000-000000000000', 'bench', 'event', '{}');\n",
            payload(0)
        ),
    )
    .expect("write the script");
    let log = folder.join("latencies");
    let threads = clients.min(2).to_string();
    let (clients, seconds) = (clients.to_string(), PERIOD.as_secs().to_string());
    let output = Command::new(psql_folder().join("pgbench"))
        .args(["--no-vacuum", "--protocol", "prepared", "--client", &clients, "--jobs", &threads])
        .args(["--time", &seconds, "--log", "--log-prefix"])
        .arg(&log)
        .arg("--file")
        .arg(&script)
        .arg(stack.server.url("postgres"))
        .output()
        .expect("pgbench runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    sample(read_latencies(folder), PERIOD)
}

/// Reads pgbench's third column, the microseconds of each transaction, from one file per thread. The files are removed.
fn read_latencies(folder: &Path) -> Vec<f64> {
    let mut latencies = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder").flatten() {
        if !entry.file_name().to_string_lossy().starts_with("latencies.") {
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).expect("read a log");
        latencies.extend(
            text.lines()
                .filter_map(|line| line.split(' ').nth(2)?.parse::<f64>().ok())
                .map(|microseconds| microseconds / 1_000.0),
        );
        std::fs::remove_file(entry.path()).expect("remove a log");
    }
    latencies
}

fn sample(mut latencies: Vec<f64>, took: Duration) -> Sample {
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = (latencies.len() as f64 * share) as usize;
        latencies.get(index.min(latencies.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    };
    Sample { rate: latencies.len() as f64 / took.as_secs_f64(), p50: at(0.5), p99: at(0.99) }
}

/// A number for each delivery of this process.
pub fn next_number() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// Runs `in_flight` senders for the period. Each sends one delivery after the other.
async fn drive(in_flight: usize, send: impl AsyncFn(u64)) -> Sample {
    let started = Instant::now();
    let senders = (0..in_flight).map(|_| async {
        let mut latencies = Vec::new();
        while started.elapsed() < PERIOD {
            let began = Instant::now();
            send(next_number()).await;
            latencies.push(began.elapsed().as_secs_f64() * 1_000.0);
        }
        latencies
    });
    let latencies = join_all(senders).await.into_iter().flatten().collect();
    sample(latencies, started.elapsed())
}

async fn flush_path(url: &str, in_flight: usize) -> Sample {
    let connection = Connection::new(Settings::parse(url).expect("a connection string"));
    let (store, writer) = writer::open(connection, FlushBounds::default(), Duration::from_secs(5));
    let mut writer = pin!(writer.run());
    let mut sending = pin!(drive(in_flight, async |number| put(&store, number).await));
    poll_fn(|context| {
        assert!(writer.as_mut().poll(context).is_pending(), "the writer ended");
        match sending.as_mut().poll(context) {
            Poll::Ready(sample) => Poll::Ready(sample),
            // An offered delivery must not wait for the next wake-up.
            Poll::Pending => {
                assert!(writer.as_mut().poll(context).is_pending(), "the writer ended");
                Poll::Pending
            }
        }
    })
    .await
}

async fn put(store: &Store, number: u64) {
    let event = DeliveryEvent {
        number: 0,
        event_type: "event".to_owned(),
        payload: Some(payload(number)),
        repair: None,
    };
    let delivery = Delivery {
        source: "bench".to_owned(),
        dedupe_keys: vec![format!("id:{number}")],
        remembered_days: 4,
        events: vec![event],
    };
    let stored = store.put(Arc::new(delivery)).await.expect("stored");
    assert!(matches!(stored, Stored::New { .. }));
}

async fn through_runtime_api(function: &Function, in_flight: usize) -> Sample {
    drive(in_flight, async |number| {
        let answer = function.invoke(&request(number), Duration::from_secs(29)).await.response();
        assert_eq!(answer["statusCode"], 202, "{answer}");
    })
    .await
}

/// The request of a signed delivery, as API Gateway sends it.
pub fn request(number: u64) -> Value {
    let secret = Secret::from(SECRET.to_owned());
    let body = payload(number);
    let signed = sign(&Scheme::Github, &secret, "", body.as_bytes(), SystemTime::now()).expect("sign");
    let mut headers = serde_json::Map::new();
    for (name, value) in &signed {
        headers.insert(name.to_string(), json!(value.to_str().expect("text")));
    }
    headers.insert("x-github-delivery".to_owned(), json!(number.to_string()));
    headers.insert("content-type".to_owned(), json!("application/json"));
    json!({
        "version": "2.0",
        "rawPath": "/webhooks/bench",
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {
            "requestId": number.to_string(),
            "http": { "method": "POST", "path": "/webhooks/bench", "sourceIp": "127.0.0.1" },
        },
        "body": body,
        "isBase64Encoded": false,
    })
}

impl Stack {
    /// Checks that every row is in the ledger, then empties the tables for the next contender.
    async fn reset_deliveries(&self) {
        let differing = "select count(*) from staging.batches
             where staged_count <> (select count(*) from staging.events
                where events.received_at = batches.received_at and events.batch_id = batches.batch_id)";
        assert_eq!(number(&self.owner, differing).await, 0, "the ledger agrees with the rows");
        self.reset().await;
    }
}
