//! A local AWS: MiniStack runs the binaries of the functions as processes.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use http::HeaderMap;
use millrace::{Error, Kind, Result};
use serde_json::Value;

use super::names::STACK;
use super::ports;
use super::process::Process;
use crate::environment::LocalAws;
use crate::post::post;

/// A running emulator, bound to the loopback interface. Dropping it stops it and the functions that it runs.
#[derive(Debug)]
pub struct Emulator {
    process: Process,
    port: u16,
}

impl Emulator {
    /// Starts the emulator of the Python environment `tools`. `state` contains its log, its port and its temporary files. With
    /// `persistent`, it also contains the buckets and queues for the next start.
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
        // The emulator extracts functions here. They are not reused, because a folder of an earlier run may be incomplete.
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
        // The functions inherit this environment, so it contains no variables that the template must set.
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

    /// Its endpoint and credentials. It accepts any credentials.
    pub fn address(&self) -> LocalAws {
        LocalAws::at(endpoint(self.port))
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its log, which contains the output of the functions.
    pub fn log(state: &Path) -> PathBuf {
        state.join("log")
    }

    /// Returns an error if it has ended by itself.
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

/// Sends an HTTP GET to the emulator. Returns the status and body, or `None` if it does not respond.
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

/// Invokes a function of the stack, such as `transform`, and waits for its response.
///
/// # Errors
/// When the function does not exist, fails, or does not respond within half a minute.
pub async fn invoke(port: u16, function: &str) -> Result<Value> {
    let url = format!("{}/2015-03-31/functions/{STACK}-{function}/invocations", endpoint(port));
    let failed = |why: String| Error::new(Kind::Transient, format!("invoke {function}: {why}"));
    let answer = post(&url, None, HeaderMap::new(), b"{}".to_vec())
        .await?
        .ok_or_else(|| failed("it has not responded yet; its log is in .millrace/aws/log".to_owned()))?;
    let text = || String::from_utf8_lossy(&answer.body).trim().to_owned();
    // The response for a failed function is 200 too, with this header.
    if !answer.status.is_success() || answer.headers.contains_key("x-amz-function-error") {
        return Err(failed(text()));
    }
    serde_json::from_slice(&answer.body).map_err(|error| failed(text()).with_source(error))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Invokes `transform` on a server that responds to one request with `answer`. Returns the result and the first line of the request.
    async fn invoke_answered(answer: &'static str) -> (Result<Value>, String) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n{}") {
                let mut buffer = [0; 1024];
                let count = stream.read(&mut buffer).unwrap();
                assert!(count > 0, "the request ended early");
                request.extend_from_slice(&buffer[..count]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request).unwrap().lines().next().unwrap().to_owned()
        });
        let result = invoke(port, "transform").await;
        (result, server.join().unwrap())
    }

    #[tokio::test]
    async fn an_invocation_gives_what_the_function_answered() {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"claims\":3}";
        let (result, request) = invoke_answered(answer).await;
        assert_eq!(result.unwrap()["claims"], 3);
        assert_eq!(request, "POST /2015-03-31/functions/millrace-transform/invocations HTTP/1.1");
    }

    #[tokio::test]
    async fn a_function_that_fails_is_an_error_though_the_status_is_200() {
        let answer = "HTTP/1.1 200 OK\r\nX-Amz-Function-Error: Unhandled\r\nContent-Length: 24\r\n\r\n{\"errorMessage\":\"wrong\"}";
        let error = invoke_answered(answer).await.0.unwrap_err();
        assert!(error.to_string().contains("wrong"), "{error}");
        let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}";
        assert!(invoke_answered(answer).await.0.is_err());
    }
}
