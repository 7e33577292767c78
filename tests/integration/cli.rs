//! The program `millrace`, run as a user runs it.

use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use clap::CommandFactory;
use millrace_cli::arguments::Arguments;
use millrace_tests::aws::{Aws, sqs_event};
use millrace_tests::postgres::Database;
use millrace_tests::runtime_api::{Function, binary};
use millrace_tests::terminal::assert_fits;
use serde_json::Value;
use tokio::process::Command;

fn millrace(arguments: &[&str], variables: &[(String, String)]) -> Command {
    let mut command = Command::new(binary("millrace"));
    command.args(arguments).env_clear().envs(variables.iter().cloned()).kill_on_drop(true);
    command
}

async fn run(arguments: &[&str], variables: &[(String, String)]) -> Output {
    millrace(arguments, variables).output().await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn data(name: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data").join(name).display().to_string()
}

#[tokio::test]
async fn put_waits_until_the_rows_of_the_file_are_committed() {
    let (database, aws) = (Database::new().await, Aws::new().await);
    let variables = aws.variables(&database.url());
    let mut environment = aws.variables(&database.url_for("millrace_ingest"));
    let pipeline = tempfile::TempDir::new().unwrap();
    environment.push(("MILLRACE_PIPELINE".to_owned(), pipeline.path().display().to_string()));
    let function = Function::spawn(&binary("ingest-csv"), &environment).await;

    let file = data("weather-with-errors.csv");
    let arguments = ["put", &file, "--source", "nyc", "--event-type", "weather", "--timeout", "60s"];
    let put = tokio::spawn(millrace(&arguments, &variables).output());
    let message = aws.next_upload().await;
    function.invoke(&sqs_event(&message), Duration::from_secs(60)).await.response();

    let put = put.await.unwrap().unwrap();
    let said = text(&put.stdout);
    assert_eq!(put.status.code(), Some(0), "{said}{}", text(&put.stderr));
    assert!(said.contains("1,196 rows staged, 4 rejected, 1 repaired"), "{said}");
    assert!(said.contains("`millrace dead-letters list` shows what was rejected"), "{said}");
    assert_eq!(aws.dead_letters().await.len(), 4);

    let status = run(&["status", "--json"], &variables).await;
    assert_eq!(status.status.code(), Some(0), "{}", text(&status.stderr));
    let report: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(report["reconciles"], true);
    assert_eq!(report["queues"]["dead_letters"], 4);
    let counts = &report["event_types"][0];
    assert_eq!((&counts["read"], &counts["staged"]), (&Value::from(1_200), &Value::from(1_196)));

    // A deleted row is reported.
    let removed = "delete from staging.events where id = (select min(id) from staging.events)";
    assert_eq!(database.owner().await.execute(removed, &[]).await.unwrap(), 1);
    let status = run(&["status"], &variables).await;
    assert_eq!(status.status.code(), Some(1), "{}", text(&status.stdout));
    assert!(text(&status.stdout).contains("do not reconcile"));
    let quick = run(&["status", "--quick"], &variables).await;
    assert_eq!(quick.status.code(), Some(0), "--quick counts no rows");
}

#[tokio::test]
async fn status_accounts_for_every_event_of_a_processed_batch() {
    let (database, aws) = (Database::new().await, Aws::new().await);
    let variables = aws.variables(&database.url());
    let owner = database.owner().await;
    let events = "insert into raw_events (source, event_type, payload) select 'shop', 'orders', '{}' from generate_series(1, 9)";
    owner.batch_execute(events).await.unwrap();
    owner.batch_execute(&events.replace("1, 9", "1, 5")).await.unwrap();
    let processed = "update staging.batches
         set processed_at = now(), transformed_count = 6, quarantined_count = 2, unmodelled_count = 1 where staged_count = 9";
    assert_eq!(owner.execute(processed, &[]).await.unwrap(), 1);

    let status = run(&["status", "--json"], &variables).await;
    assert_eq!(status.status.code(), Some(0), "{}", text(&status.stderr));
    let report: Value = serde_json::from_slice(&status.stdout).unwrap();
    let counts = ["unprocessed", "processed", "transformed", "quarantined", "unmodelled"]
        .map(|name| report["event_types"][0][name].as_i64().unwrap());
    assert_eq!(counts, [5, 9, 6, 2, 1]);
    let said = text(&run(&["status"], &variables).await.stdout);
    assert!(said.contains("9 processed = 6 transformed + 2 quarantined + 1 unmodelled"), "{said}");

    // The table refuses this. A status that relied on the constraint would not need to count.
    owner
        .batch_execute(
            "alter table staging.batches drop constraint batches_processed_reconciles;
             update staging.batches set transformed_count = 5 where staged_count = 9",
        )
        .await
        .unwrap();
    let status = run(&["status", "--quick"], &variables).await;
    let said = text(&status.stdout);
    assert_eq!(status.status.code(), Some(1), "{said}");
    assert!(said.contains("insert:") && said.contains("9 against 8"), "{said}");
}

#[tokio::test]
async fn an_upload_in_parts_arrives_whole() {
    let (database, aws) = (Database::new().await, Aws::new().await);
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("large.csv");
    let body: Vec<u8> = (0..20_000_000_u32).map(|index| b'a' + (index % 26) as u8).collect();
    std::fs::write(&file, &body).unwrap();
    let arguments = [
        "put",
        file.to_str().unwrap(),
        "--source",
        "a",
        "--event-type",
        "b",
        "--key-suffix",
        "x/y z.csv",
        "--no-wait",
    ];
    let put = run(&arguments, &aws.variables(&database.url())).await;
    assert_eq!(put.status.code(), Some(0), "{}", text(&put.stderr));
    let object =
        aws.clients.s3.get_object().bucket(&aws.bucket).key("incoming/a/b/x/y z.csv").send().await.unwrap();
    assert!(object.body.collect().await.unwrap().into_bytes() == body);
}

#[tokio::test]
async fn migrate_applies_once_and_check_reports_the_state() {
    let database = Database::empty().await;
    let variables = [("DATABASE_URL".to_owned(), database.url())];
    let codes = async |argument: &[&str]| run(argument, &variables).await.status.code();
    assert_eq!(codes(&["migrate", "--check"]).await, Some(1));
    assert_eq!(codes(&["migrate", "--dry-run"]).await, Some(0));
    assert_eq!(codes(&["migrate", "--check"]).await, Some(1));
    assert_eq!(codes(&["migrate"]).await, Some(0));
    assert_eq!(codes(&["migrate", "--check"]).await, Some(0));
    assert_eq!(codes(&["migrate"]).await, Some(0));
}

#[tokio::test]
async fn a_refused_connection_is_reported_immediately() {
    let nobody = "postgresql://a:canary@127.0.0.1:1/x".to_owned();
    let began = std::time::Instant::now();
    let refused = run(&["migrate"], &[("DATABASE_URL".to_owned(), nobody)]).await;
    assert_eq!(refused.status.code(), Some(2));
    let said = text(&refused.stderr);
    assert!(said.contains("refused") && said.contains("make dev") && !said.contains("canary"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn every_command_has_help_that_fits_a_terminal() {
    fn paths(command: &clap::Command, path: &[String], found: &mut Vec<Vec<String>>) {
        found.push(path.to_vec());
        for sub in command.get_subcommands() {
            paths(sub, &[path, &[sub.get_name().to_owned()]].concat(), found);
        }
    }
    let mut commands = Vec::new();
    paths(&Arguments::command(), &[], &mut commands);
    assert!(commands.len() > 20, "{commands:?}");
    for command in commands {
        for flag in ["-h", "--help"] {
            let arguments: Vec<&str> = command.iter().map(String::as_str).chain([flag]).collect();
            let help = run(&arguments, &[]).await;
            assert_eq!(help.status.code(), Some(0), "{arguments:?}");
            let help = text(&help.stdout);
            let usage = [&["Usage: millrace"], &arguments[..command.len()]].concat().join(" ");
            assert!(help.contains(&usage), "{arguments:?}: {help}");
            assert_fits(&help, 80);
            assert!(!command.is_empty() || help.lines().count() <= 24, "{help}");
        }
    }
}
