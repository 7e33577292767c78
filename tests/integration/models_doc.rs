//! Runs docs/models.md from top to bottom in one database: writes each file, runs each statement and command, and
//! compares each output with the page.
//!
//! The info string of a block defines its use:
//!
//! - `sql pipeline/models/NAME.sql`: the whole file.
//! - `sql`: for psql, as the owner.
//! - `sh`, `sh exits N`: commands.
//! - `sh stays`: a command that keeps running in the background.
//! - `text`, after a block of `sql` or `sh`: the output of psql or of the command; `text stays`: the output of the
//!   background command.
//! - `json dead_letter`, `json notification`: some fields of the newest dead letter or notification.
//!
//! `<!-- transform -->` is one run of the function. `…` matches any text within a line.

use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace::database::{Settings, listener};
use millrace_cli::stack::postgres::find_binaries;
use millrace_models::project::Project;
use millrace_tests::postgres::binaries;
use millrace_tests::runtime_api::binary;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use super::transform::fixture::TransformFixture;

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/models.md");
    std::fs::read_to_string(path).expect("docs/models.md")
}

/// A block, or a mark between blocks.
#[derive(Debug)]
struct Block {
    line: usize,
    info: String,
    text: String,
}

const TRANSFORM: &str = "<!-- transform -->";

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (line, text) in (1..).zip(page.lines()) {
        match (text.strip_prefix("```"), open) {
            (Some(info), false) => {
                assert!(!info.is_empty(), "line {line}: a block without an info string");
                blocks.push(Block { line, info: info.to_owned(), text: String::new() });
                open = true;
            }
            (Some(_), true) => open = false,
            (None, true) => {
                let block = blocks.last_mut().expect("a block");
                block.text.push_str(text);
                block.text.push('\n');
            }
            (None, false) if text == TRANSFORM => {
                blocks.push(Block { line, info: text.to_owned(), text: String::new() });
            }
            (None, false) => assert!(!text.starts_with("    "), "line {line}: code that nothing runs"),
        }
    }
    assert!(!open, "a block that does not end");
    blocks
}

/// The backquoted cells of a column of the table whose header begins with `table`.
fn cells<'p>(page: &'p str, table: &str, column: usize) -> Vec<&'p str> {
    let rows: Vec<&str> = page
        .lines()
        .skip_while(|line| !line.starts_with(table))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|row| row.split(" | ").nth(column).expect("a cell").trim_matches(['|', ' ', '`']))
        .collect();
    assert!(rows.len() >= 3, "{table}: {rows:?}");
    rows
}

/// The environment of the page: a folder laid out like a checkout, a database, and the program.
struct Reader {
    fixture: TransformFixture,
    folder: TempDir,
    path: String,
    background: Option<(Child, Arc<Mutex<String>>)>,
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
        // Test binaries that are not installed may lack psql.
        let has_psql = |folder: &std::path::PathBuf| folder.join("psql").is_file();
        let psql = Some(binaries())
            .filter(has_psql)
            .or_else(|| find_binaries(None).filter(has_psql))
            .expect("psql: install it, as in `apt install postgresql`");
        let path = format!("{}:/usr/bin:/bin", psql.display());
        let notifications = Arc::default();
        let listening = listen(&fixture, Arc::clone(&notifications)).await;
        Reader { fixture, folder, path, background: None, notifications, listening }
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(self.fixture.aws.variables(&self.fixture.database.url()))
            .env("PATH", &self.path)
            .env("MILLRACE_PIPELINE", "pipeline")
            .kill_on_drop(true);
        command
    }

    /// The output of psql for these statements.
    async fn psql(&self, sql: &str) -> Output {
        let url = self.fixture.database.url();
        let mut command = self.command("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql, &url]);
        command.output().await.expect("psql")
    }

    /// Starts a command, and waits for its first output.
    async fn stay(&mut self, commands: &str) {
        let mut command = self.command("sh", &["-c", &format!("exec {commands}")]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("a command");
        let said = Arc::new(Mutex::new(String::new()));
        let (mut output, kept) = (child.stdout.take().expect("its output"), Arc::clone(&said));
        tokio::spawn(async move {
            let mut bytes = [0; 4_096];
            while let Ok(count) = output.read(&mut bytes).await
                && count > 0
            {
                kept.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        wait_for("the command says something", || !said.lock().unwrap().is_empty()).await;
        self.background = Some((child, said));
    }

    /// Runs a block. Returns the output that a `text` block may follow with.
    async fn follow(&mut self, block: &Block) -> Result<Option<String>, String> {
        let Block { info, text, .. } = block;
        let words: Vec<&str> = info.split(' ').collect();
        match words.as_slice() {
            ["sql", file] => {
                let name = file.strip_prefix("pipeline/models/").and_then(|name| name.strip_suffix(".sql"));
                self.fixture.write(name.ok_or("not a file of models")?, text);
                Ok(None)
            }
            ["sql"] => answer(&self.psql(text).await, 0),
            ["sh"] => answer(&self.command("sh", &["-e", "-c", text]).output().await.unwrap(), 0),
            ["sh", "exits", code] => {
                let output = self.command("sh", &["-e", "-c", text]).output().await.unwrap();
                answer(&output, code.parse().map_err(|_| "not an exit code")?)
            }
            ["sh", "stays"] => {
                self.stay(text).await;
                Ok(None)
            }
            ["text", "stays"] => {
                let (_, said) = self.background.as_ref().ok_or("nothing runs in the background")?;
                wait_for("the command says the lines", || {
                    said.lock().unwrap().lines().count() >= text.lines().count()
                })
                .await;
                compare(text, &said.lock().unwrap())?;
                Ok(None)
            }
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
            _ => Err(format!("what is `{info}`?")),
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

async fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..200 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("ten seconds passed before {what}");
}

fn answer(output: &Output, code: i32) -> Result<Option<String>, String> {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.code() == Some(code) {
        true => Ok(Some(said)),
        false => Err(format!(
            "{}, and not {code}:\n{said}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// Compares line by line, without surrounding blanks.
fn compare(shown: &str, came: &str) -> Result<(), String> {
    let lines = |text: &str| -> Vec<String> {
        text.trim_end().lines().map(|line| line.trim_end().to_owned()).collect()
    };
    let (shown_lines, came_lines) = (lines(shown), lines(came));
    let same = shown_lines.len() == came_lines.len()
        && shown_lines.iter().zip(&came_lines).all(|(shown, came)| is_line(shown, came));
    if same { Ok(()) } else { Err(format!("the page shows\n{shown}and what came is\n{came}")) }
}

fn is_line(shown: &str, came: &str) -> bool {
    let parts: Vec<&str> = shown.split('…').collect();
    let [first, middle @ .., last] = parts.as_slice() else { return shown == came };
    let Some(mut rest) = came.strip_prefix(first) else { return false };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
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
    let blocks = blocks(&page());
    let mut reader = Reader::new().await;
    let mut wrong = Vec::new();
    let mut before: Option<String> = None;
    for block in &blocks {
        let outcome = match block.info.as_str() {
            "text" => before
                .take()
                .ok_or("nothing right before it answers".to_owned())
                .and_then(|came| compare(&block.text, &came).map(|()| None)),
            _ => reader.follow(block).await,
        };
        match outcome {
            Ok(answer) => before = answer,
            // All mismatches are listed, since one change often affects many.
            Err(why) => wrong.push(format!("docs/models.md:{}: {why}", block.line)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(blocks.len() > 30, "{} blocks", blocks.len());
    reader.fixture.check_counts().await;
}

#[test]
fn every_example_in_the_table_of_keys_is_a_header() {
    let examples = cells(&page(), "| key | example", 1).join("\n-- ").replace("\\|", "|");
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
    for query in cells(&page, "| PostgreSQL takes it, the parser does not", 0) {
        let problems = parse("", query).broken.into_iter().flat_map(|broken| broken.problems);
        assert!(problems.into_iter().any(|problem| problem.contains("is not understood")), "{query}");
        let declared = parse("-- reads = [\"batch\"]\n", query);
        assert_eq!(declared.problems(), Vec::<&str>::new(), "{query}");
        fixture.owner.prepare(query).await.expect(query);
    }
    for query in cells(&page, "| PostgreSQL takes it, the parser does not", 1) {
        assert_eq!(parse("", query).problems(), Vec::<&str>::new(), "{query}");
        fixture.owner.prepare(query).await.expect(query);
    }
}
