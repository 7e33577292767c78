//! A background process of the stack with a clean environment and a log. It is stopped with this process.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use millrace::{Error, Kind, Result};

use super::child;

/// A running program. Dropping it stops the program and the processes that it started.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

/// How long a program may take to stop before it is killed.
const TIMEOUT: Duration = Duration::from_secs(20);

impl Process {
    /// Starts `command` with only the environment that was set on it, because inherited variables would hide those that are missing in
    /// the template. Its output replaces the contents of `log`. `name` is used in messages.
    pub fn start(name: &'static str, mut command: Command, log: &Path) -> Result<Self> {
        let failed = |error: io::Error| Error::new(Kind::Config, format!("start {name}")).with_source(error);
        let output = File::create(log).map_err(failed)?;
        command.stdin(Stdio::null()).stdout(output.try_clone().map_err(failed)?).stderr(output);
        let child = child::spawn(command, libc::SIGTERM).map_err(failed)?;
        Ok(Process { name, child, log: log.to_owned() })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .map_err(|error| Error::new(Kind::Bug, format!("wait for {}", self.name)).with_source(error))
    }

    /// Waits until it ends.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// The last lines of its log, for an error message.
    pub fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    pub fn stop(&mut self) {
        child::stop(&mut self.child, libc::SIGTERM, TIMEOUT);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}
