//! Loads a CSV object into `raw_events`, and compares it with psql's `\copy` of the same rows.
//!
//! `\copy` reads a local file whose rows are already JSON. The function fetches the object from S3, decodes, parses and
//! encodes it, and writes the ledger. Both write the same rows to the same table of the same server, one after the
//! other.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use millrace_tests::postgres::psql_folder;
use millrace_tests::runtime_api::Function;
use serde_json::Value;

use crate::flights;
use crate::stack::Stack;
use crate::table::{mebibytes, median, print, thousands};

struct Contender<'a> {
    name: &'static str,
    way: Way<'a>,
    seconds: Vec<f64>,
}

enum Way<'a> {
    /// psql, from a local file.
    Copy(&'a Path),
    Function(Function),
}

pub async fn run(rounds: usize) {
    let stack = Stack::start().await;
    let file = flights::file();
    let as_they_came = stack.directory.path().join("as-they-came.copy");
    let sorted = stack.directory.path().join("sorted.copy");
    encode(&file, &as_they_came, false);
    encode(&file, &sorted, true);
    let mut contenders = Vec::from([
        Contender {
            name: "psql \\copy, encoded, keys as they came",
            way: Way::Copy(&as_they_came),
            seconds: Vec::new(),
        },
        Contender {
            name: "psql \\copy, encoded, keys in jsonb's order",
            way: Way::Copy(&sorted),
            seconds: Vec::new(),
        },
    ]);
    for (name, connections) in [("ingest-csv, one connection", "1"), ("ingest-csv, two connections", "2")] {
        let function = stack.function(&[("MILLRACE_COPY_CONNECTIONS", connections)]).await;
        contenders.push(Contender { name, way: Way::Function(function), seconds: Vec::new() });
    }
    // The first round warms caches and connections and is not counted.
    for round in 0..=rounds {
        for contender in &mut contenders {
            let event = stack.put(&file, &format!("incoming/nyc/flights/{round}.csv")).await;
            stack.reset().await;
            let took = contender.run(&stack, &event).await;
            if round > 0 {
                contender.seconds.push(took.as_secs_f64());
            }
            eprintln!("round {round}/{rounds}  {:<44} {:.2} s", contender.name, took.as_secs_f64());
        }
    }
    let baseline = median(&contenders[0].seconds);
    let rows: Vec<Vec<String>> = contenders.iter().map(|contender| contender.row(baseline)).collect();
    print(
        &format!(
            "CSV object to raw_events: {} rows of flights.csv ({}), median of {rounds}\n{}",
            thousands(flights::ROWS as f64),
            mebibytes(std::fs::metadata(&file).expect("the file's size").len()),
            stack.describe().await
        ),
        &["", "rows/s", "against \\copy", "peak memory"],
        &rows,
    );
}

impl Contender<'_> {
    async fn run(&self, stack: &Stack, event: &Value) -> Duration {
        match &self.way {
            Way::Function(function) => stack.load(function, event, flights::ROWS).await,
            Way::Copy(file) => {
                let took = copy(&stack.server.url("postgres"), file);
                stack.holds(flights::ROWS).await;
                took
            }
        }
    }

    fn row(&self, baseline: f64) -> Vec<String> {
        let seconds = median(&self.seconds);
        let memory = match &self.way {
            Way::Function(function) => mebibytes(function.peak_memory()),
            Way::Copy(_) => "-".to_owned(),
        };
        vec![
            self.name.to_owned(),
            thousands(flights::ROWS as f64 / seconds),
            format!("{:.2} x", baseline / seconds),
            memory,
        ]
    }
}

fn copy(url: &str, file: &Path) -> Duration {
    let command = format!(
        "\\copy staging.events (received_at, batch_id, source, event_type, payload) from '{}'",
        file.display()
    );
    let mut psql = Command::new(psql_folder().join("psql"));
    psql.args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--dbname", url, "--command", &command]);
    let started = Instant::now();
    let status = psql.status().expect("psql runs");
    assert!(status.success(), "psql: {status}");
    started.elapsed()
}

/// The rows of a CSV file in COPY's text format, with the payload as JSON.
fn encode(csv: &Path, out: &Path, sorted: bool) {
    let mut reader = csv::Reader::from_path(csv).expect("read the file");
    let names: Vec<String> = reader.headers().expect("a header").iter().map(str::to_owned).collect();
    let mut order: Vec<usize> = (0..names.len()).collect();
    if sorted {
        order.sort_by_key(|&index| (names[index].len(), names[index].clone()));
    }
    let received_at = time::OffsetDateTime::now_utc();
    let day = received_at.date();
    let mut text = String::new();
    for record in reader.records() {
        let record = record.expect("a record");
        write!(text, "{day} 12:00:00+00\t0190f8a0-0000-7000-8000-000000000000\tnyc\tflights\t{{")
            .expect("write");
        for (place, &index) in order.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            let pair =
                format!("{comma}{}: {}", Value::from(names[index].as_str()), Value::from(&record[index]));
            // A backslash is COPY's escape character.
            text.push_str(&pair.replace('\\', "\\\\"));
        }
        text.push_str("}\n");
    }
    std::fs::write(out, text).expect("write the encoded rows");
}
