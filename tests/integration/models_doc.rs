//! Runs docs/models.md from top to bottom in one database: writes each file, runs each statement and command, and
//! compares each output with the page.
//!
//! In addition to the blocks of [`millrace_tests::page`]:
//!
//! - `sql pipeline/models/NAME.sql`: the whole file.
//! - `sql`: for psql, as the owner.
//! - `json dead_letter`, `json notification`: some fields of the newest dead letter or notification.
//!
//! `<!-- transform -->` is one run of the function.

use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace::database::{Settings, listener};
use millrace_models::project::Project;
use millrace_tests::page::{Block, Followed, Page, Terminal, answer, is_line};
use millrace_tests::postgres::psql_folder;
use millrace_tests::runtime_api::binary;
use serde_json::Value;
use tempfile::TempDir;

use super::transform::fixture::TransformFixture;

const TRANSFORM: &str = "<!-- transform -->";

fn page() -> Page {
    Page::read("docs/models.md")
}

/// The environment of the page: a folder laid out like a checkout, a database, and the program.
struct Reader {
    fixture: TransformFixture,
    _folder: TempDir,
    terminal: Terminal,
    notifications: Arc<Mutex<Vec<Value>>>,
    listening: tokio::task::JoinHandle<()>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Reader {
    async fn new() -> Reader {
        let fixture = TransformFixture::new(&[]).await;
        let folder = TempDir::new().expect("a folder");
        std::os::unix::fs::symlink(fixture.pipeline.path(), folder.path().join("pipeline")).expect("a link");
        std::fs::create_dir_all(folder.path().join("target/debug")).expect("a folder");
        std::os::unix::fs::symlink(binary("millrace"), folder.path().join("target/debug/millrace"))
            .expect("a link");
        let mut variables = fixture.aws.variables(&fixture.database.url());
        variables.push(("PATH".to_owned(), format!("{}:/usr/bin:/bin", psql_folder().display())));
        variables.push(("MILLRACE_PIPELINE".to_owned(), "pipeline".to_owned()));
        let terminal = Terminal::new(folder.path(), variables);
        let notifications = Arc::default();
        let listening = listen(&fixture, Arc::clone(&notifications)).await;
        Reader { fixture, _folder: folder, terminal, notifications, listening }
    }

    /// The output of psql for these statements.
    async fn psql(&self, sql: &str) -> Output {
        let mut psql = self.terminal.command("psql");
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql, &self.fixture.database.url()]);
        psql.output().await.expect("psql")
    }

    async fn follow(&mut self, block: &Block) -> Followed {
        let Block { info, text, .. } = block;
        let words: Vec<&str> = info.split(' ').collect();
        match words.as_slice() {
            ["sql", file] => {
                let name = file.strip_prefix("pipeline/models/").and_then(|name| name.strip_suffix(".sql"));
                self.fixture.write(name.ok_or("not a file of models")?, text);
                Ok(None)
            }
            ["sql"] => answer(&self.psql(text).await, 0),
            ["json", "dead_letter"] => {
                let mut dead_letters = self.fixture.dead_letters().await;
                dead_letters.sort_by_key(|dead_letter| dead_letter.origin.event_id);
                let newest =
                    serde_json::to_value(dead_letters.last().ok_or("there is no dead letter")?).unwrap();
                contains(text, &newest)?;
                Ok(None)
            }
            ["json", "notification"] => {
                let newest = || self.notifications.lock().unwrap().last().cloned().unwrap_or_default();
                // The notification arrives after the commit that it reports.
                for _ in 0..100 {
                    if contains(text, &newest()).is_ok() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                contains(text, &newest())?;
                Ok(None)
            }
            _ if info == TRANSFORM => {
                self.fixture.transform().await.map_err(|error| error.chain())?;
                Ok(None)
            }
            _ => self.terminal.follow(block).await,
        }
    }
}

async fn listen(fixture: &TransformFixture, heard: Arc<Mutex<Vec<Value>>>) -> tokio::task::JoinHandle<()> {
    let settings = Settings::parse(&fixture.database.url()).expect("a connection string");
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let listening = tokio::spawn(async move {
        let keep = |payload: &str| heard.lock().unwrap().push(serde_json::from_str(payload).unwrap());
        listener::listen(&settings, "millrace", move || ready.send(()).unwrap(), keep).await.unwrap();
    });
    is_ready.await.expect("listening");
    listening
}

/// Every field on the page exists with that value.
fn contains(shown: &str, came: &Value) -> Result<(), String> {
    let shown: Value = serde_json::from_str(shown).map_err(|error| format!("not JSON: {error}"))?;
    if is_part(&shown, came) {
        Ok(())
    } else {
        Err(format!("the page shows\n{shown:#}\nand what came is\n{came:#}"))
    }
}

fn is_part(shown: &Value, came: &Value) -> bool {
    match (shown, came) {
        (Value::Object(shown), Value::Object(came)) => {
            shown.iter().all(|(name, value)| came.get(name).is_some_and(|other| is_part(value, other)))
        }
        (Value::String(shown), Value::String(came)) => is_line(shown, came),
        (shown, came) => shown == came,
    }
}

#[tokio::test]
async fn the_page_on_models_shows_what_happens() {
    let mut reader = Reader::new().await;
    let count = page().run(&[TRANSFORM], async |block| reader.follow(block).await).await;
    assert!(count > 30, "{count} blocks");
    reader.fixture.check_counts().await;
}

#[test]
fn every_example_in_the_table_of_keys_is_a_header() {
    let page = page();
    let examples = page.cells("| key | example", 1).join("\n-- ").replace("\\|", "|");
    let query = "select 1 as order_id, 2 as customer_id, 3 as total, '' as status from batch";
    let customers = "-- kind = \"fact\"\n-- source = \"shop/customers\"\nselect 1 as id from batch";
    let files = [("orders", format!("-- {examples}\n{query}")), ("customers", customers.to_owned())]
        .map(|(name, text)| (format!("models/{name}.sql"), text));
    let project = Project::parse(&files);
    assert_eq!(project.problems(), Vec::<&str>::new());
    let orders = project.model("orders").expect("a model");
    assert!(orders.tests.len() > 1 && orders.description.is_some() && !orders.indexes.is_empty());
}

#[tokio::test]
async fn queries_documented_as_unparsable_need_reads() {
    let page = page();
    let fixture = TransformFixture::new(&[]).await;
    let parse = |header: &str, query: &str| {
        let text = format!("-- kind = \"fact\"\n-- source = \"shop/orders\"\n{header}{query}");
        Project::parse(&[("models/x.sql".to_owned(), text)])
    };
    for query in page.cells("| PostgreSQL takes it, the parser does not", 0) {
        let problems = parse("", query).broken.into_iter().flat_map(|broken| broken.problems);
        assert!(problems.into_iter().any(|problem| problem.contains("cannot be parsed")), "{query}");
        let declared = parse("-- reads = [\"batch\"]\n", query);
        assert_eq!(declared.problems(), Vec::<&str>::new(), "{query}");
        fixture.owner.prepare(query).await.expect(query);
    }
    for query in page.cells("| PostgreSQL takes it, the parser does not", 1) {
        assert_eq!(parse("", query).problems(), Vec::<&str>::new(), "{query}");
        fixture.owner.prepare(query).await.expect(query);
    }
}
