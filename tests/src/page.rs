//! Runs a page of `docs/` from top to bottom and compares each output with the page.
//!
//! The info string of a block defines its use:
//!
//! - `sh`, `sh exits N`: commands, in a terminal that keeps exported variables.
//! - `sh stays`: a command that keeps running in another terminal.
//! - `text`, after a block with output: that output; `text stays`: the output of the command that keeps running.
//!
//! A test defines the other blocks of its page, and its marks: lines such as `<!-- transform -->`. `…` matches any text
//! within a line.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use tempfile::{NamedTempFile, TempPath};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::process::signal;

/// A block, or a mark between blocks.
#[derive(Debug)]
pub struct Block {
    line: usize,
    pub info: String,
    pub text: String,
}

/// The output that a `text` block may follow with, or what differs from the page.
pub type Followed = Result<Option<String>, String>;

/// A page with its text.
pub struct Page {
    name: String,
    text: String,
}

impl Page {
    /// Reads a page such as `docs/models.md`.
    pub fn read(name: &str) -> Page {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
        Page { name: name.to_owned(), text: std::fs::read_to_string(path).expect(name) }
    }

    /// The blocks and marks, in their order. Every piece of code must be a block that runs.
    fn blocks(&self, marks: &[&str]) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut open = false;
        for (line, text) in (1..).zip(self.text.lines()) {
            match (text.strip_prefix("```"), open) {
                (Some(info), false) => {
                    assert!(!info.is_empty(), "{}:{line}: a block without an info string", self.name);
                    blocks.push(Block { line, info: info.to_owned(), text: String::new() });
                    open = true;
                }
                (Some(_), true) => open = false,
                (None, true) => {
                    let block = blocks.last_mut().expect("a block");
                    block.text.push_str(text);
                    block.text.push('\n');
                }
                (None, false) if marks.contains(&text) => {
                    blocks.push(Block { line, info: text.to_owned(), text: String::new() });
                }
                (None, false) => {
                    assert!(!text.starts_with("    "), "{}:{line}: code that nothing runs", self.name);
                }
            }
        }
        assert!(!open, "{}: a block that does not end", self.name);
        blocks
    }

    /// The backquoted cells of a column of the table whose header begins with `table`.
    pub fn cells(&self, table: &str, column: usize) -> Vec<&str> {
        let rows: Vec<&str> = self
            .text
            .lines()
            .skip_while(|line| !line.starts_with(table))
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .map(|row| row.split(" | ").nth(column).expect("a cell").trim_matches(['|', ' ', '`']))
            .collect();
        assert!(rows.len() >= 3, "{table}: {rows:?}");
        rows
    }

    /// Runs every block with `follow` and compares the outputs. Returns the number of blocks.
    ///
    /// # Panics
    /// With all differences, since one change often affects many blocks.
    pub async fn run(&self, marks: &[&str], mut follow: impl AsyncFnMut(&Block) -> Followed) -> usize {
        let blocks = self.blocks(marks);
        let mut wrong = Vec::new();
        let mut before: Option<String> = None;
        for block in &blocks {
            let outcome = match block.info.as_str() {
                "text" => before
                    .take()
                    .ok_or("nothing right before it answers".to_owned())
                    .and_then(|came| compare(&block.text, &came).map(|()| None)),
                _ => follow(block).await,
            };
            match outcome {
                Ok(answer) => before = answer,
                Err(why) => wrong.push(format!("{}:{}: {why}", self.name, block.line)),
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
        blocks.len()
    }
}

/// The terminals of a reader: one for commands, and one for a command that keeps running.
pub struct Terminal {
    folder: PathBuf,
    variables: Vec<(String, String)>,
    /// The exported variables after the last block, as a shell script.
    exported: TempPath,
    background: Option<Background>,
}

impl Terminal {
    /// Terminals in `folder` that have only these variables.
    pub fn new(folder: &Path, variables: Vec<(String, String)>) -> Terminal {
        let exported = NamedTempFile::new().expect("a file").into_temp_path();
        Terminal { folder: folder.to_owned(), variables, exported, background: None }
    }

    /// Runs a block whose info string is described [above](self).
    pub async fn follow(&mut self, block: &Block) -> Followed {
        let words: Vec<&str> = block.info.split(' ').collect();
        match words.as_slice() {
            ["sh"] => self.run(&block.text, 0).await,
            ["sh", "exits", code] => {
                self.run(&block.text, code.parse().map_err(|_| "not an exit code")?).await
            }
            ["sh", "stays"] => {
                self.background = Some(Background::start(self.command("sh"), &block.text).await?);
                Ok(None)
            }
            ["text", "stays"] => {
                let background = self.background.as_mut().ok_or("nothing runs in the background")?;
                compare(&block.text, &background.lines(block.text.lines().count()).await?)?;
                Ok(None)
            }
            _ => Err(format!("what is `{}`?", block.info)),
        }
    }

    /// Waits until the command that keeps running has printed `text`.
    pub async fn wait_for(&mut self, text: &str) -> Followed {
        let background = self.background.as_mut().ok_or("nothing runs in the background")?;
        background.wait_for(text, |output| output.contains(text)).await.map(|_| None)
    }

    /// Stops the command that keeps running, as Ctrl-C does, and waits for its end.
    pub async fn interrupt(&mut self) -> Followed {
        let background = self.background.take().ok_or("nothing runs in the background")?;
        let status = background.interrupt().await?;
        if status.success() { Ok(None) } else { Err(format!("it ended with {status}")) }
    }

    /// A program in the folder, with the first variables.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.folder)
            .env_clear()
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, commands: &str, code: i32) -> Followed {
        let script = format!(". \"$0\"\n{commands}\nexport -p > \"$0\"\n");
        let mut shell = self.command("sh");
        shell.args(["-e", "-c", &script]).arg(&self.exported);
        answer(&shell.output().await.expect("a shell"), code)
    }
}

/// A command that keeps running, and its output so far.
struct Background {
    child: Child,
    output: watch::Receiver<String>,
}

/// Suffices for the start of a local stack.
const START: Duration = Duration::from_secs(300);

impl Background {
    /// Starts the command and waits for its first output.
    async fn start(mut shell: Command, command: &str) -> Result<Background, String> {
        shell.arg("-c").arg(format!("exec {} 2>&1", command.trim_end())).stdout(Stdio::piped());
        let mut child = shell.spawn().expect("a shell");
        let mut pipe = child.stdout.take().expect("its output");
        let (sender, output) = watch::channel(String::new());
        tokio::spawn(async move {
            let mut bytes = [0; 4_096];
            while let Ok(count) = pipe.read(&mut bytes).await
                && count > 0
            {
                sender.send_modify(|output| output.push_str(&String::from_utf8_lossy(&bytes[..count])));
            }
        });
        let mut background = Background { child, output };
        background.wait_for("some output", |output| !output.is_empty()).await?;
        Ok(background)
    }

    /// The output, as soon as it has so many lines.
    async fn lines(&mut self, count: usize) -> Result<String, String> {
        let has = |output: &str| output.trim_start_matches('\n').matches('\n').count() >= count;
        self.wait_for(&format!("{count} lines"), has).await
    }

    async fn wait_for(&mut self, what: &str, has: impl Fn(&str) -> bool) -> Result<String, String> {
        let found = match timeout(START, self.output.wait_for(|output| has(output))).await {
            Ok(found) => found.map(|output| output.clone()).map_err(|_| "it ended"),
            Err(_) => Err("five minutes passed"),
        };
        found.map_err(|why| format!("{why} before {what}:\n{}", *self.output.borrow()))
    }

    async fn interrupt(mut self) -> Result<ExitStatus, String> {
        signal(self.child.id().ok_or("it has ended")?, "INT");
        let ended =
            timeout(START, self.child.wait()).await.map_err(|_| "five minutes passed before its end")?;
        Ok(ended.expect("its exit status"))
    }
}

/// The standard output of a command that must exit with `code`.
pub fn answer(output: &Output, code: i32) -> Followed {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.code() == Some(code) {
        true => Ok(Some(text)),
        false => Err(format!(
            "{}, and not {code}:\n{text}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// Compares line by line, without trailing blanks and the blank lines around.
fn compare(shown: &str, came: &str) -> Result<(), String> {
    let lines = |text: &str| -> Vec<String> {
        text.trim_start_matches('\n').trim_end().lines().map(|line| line.trim_end().to_owned()).collect()
    };
    let (shown_lines, came_lines) = (lines(shown), lines(came));
    let same = shown_lines.len() == came_lines.len()
        && shown_lines.iter().zip(&came_lines).all(|(shown, came)| is_line(shown, came));
    if same { Ok(()) } else { Err(format!("the page shows\n{shown}and what came is\n{came}")) }
}

/// Whether a line matches the line of a page.
pub fn is_line(shown: &str, came: &str) -> bool {
    let parts: Vec<&str> = shown.split('…').collect();
    let [first, middle @ .., last] = parts.as_slice() else { return shown == came };
    let Some(mut rest) = came.strip_prefix(first) else { return false };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}
