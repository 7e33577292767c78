//! A local AWS: MiniStack runs the functions' real binaries as processes of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use millrace::{Error, Kind, Result};

use super::ports;
use super::process::Process;
use crate::environment::LocalAws;

/// A running emulator, bound to the loopback interface. Dropping it stops it and the functions that it runs.
#[derive(Debug)]
pub struct Emulator {
    process: Process,
    port: u16,
}

impl Emulator {
    /// Starts the emulator of the Python environment `tools`. `state` holds its log, its port and its temporary files, and
    /// with `persistent` also what is in its buckets and queues, for the next start.
    pub async fn start(state: &Path, tools: &Path, persistent: bool) -> Result<Self> {
        let failed =
            |error: std::io::Error| Error::new(Kind::Config, "prepare the local AWS").with_source(error);
        let program = tools.join("bin/ministack");
        if !program.is_file() {
            return Err(Error::new(
                Kind::Config,
                format!(
                    "no local AWS in {}: run `make dev` or `make demo`, which install it",
                    tools.display()
                ),
            ));
        }
        // Functions are unpacked here, and never reused: a folder of an earlier run may be incomplete.
        let temporary = state.join("tmp");
        if temporary.exists() {
            fs::remove_dir_all(&temporary).map_err(failed)?;
        }
        let (home, objects, services) = (state.join("home"), state.join("objects"), state.join("services"));
        for folder in [&temporary, &home, &objects, &services] {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let memory = state.join("port");
        let port = ports::free(ports::remembered(&memory))?;
        ports::remember(&memory, port)?;
        let keep = if persistent { "1" } else { "0" };
        let mut command = Command::new(program);
        // The functions inherit this environment: it holds nothing that the template should have set.
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", &home)
            .env("TMPDIR", &temporary)
            .env("LANG", "C.UTF-8")
            .env("BIND_HOST", "127.0.0.1")
            .env("MINISTACK_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("IOT_MTLS_ENABLED", "0")
            .env("AWS_ENDPOINT_URL", endpoint(port))
            .env("PERSIST_STATE", keep)
            .env("STATE_DIR", &services)
            .env("S3_PERSIST", keep)
            .env("S3_DATA_DIR", &objects);
        let process = Process::start("the local AWS", command, &Emulator::log(state))?;
        let mut emulator = Emulator { process, port };
        emulator.wait_until_ready().await?;
        Ok(emulator)
    }

    /// Where it is, and with what credentials: any are accepted.
    pub fn address(&self) -> LocalAws {
        LocalAws::at(endpoint(self.port))
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Its log, with what the functions printed.
    pub fn log(state: &Path) -> PathBuf {
        state.join("log")
    }

    /// An error once it has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        match self.process.ended()? {
            None => Ok(()),
            Some(status) => Err(Error::new(
                Kind::Config,
                format!("the local AWS ended ({status}):\n{}", self.process.last_words()),
            )),
        }
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let began = Instant::now();
        loop {
            if get(self.port, "/_ministack/health").is_some_and(|(status, _)| status == 200) {
                return Ok(());
            }
            self.check()?;
            if began.elapsed() > Duration::from_secs(60) {
                return Err(Error::new(
                    Kind::Config,
                    format!("the local AWS does not answer:\n{}", self.process.last_words()),
                ));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn endpoint(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// One HTTP GET of the emulator: its status and body, or nothing when it does not answer.
pub(super) fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
    Some((status, body))
}
