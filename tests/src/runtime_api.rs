//! A Lambda Runtime API server for tests, and the compiled function behind it.
//!
//! The function under test is the deployed binary. It polls `GET /2018-06-01/runtime/invocation/next`, as in AWS, and a
//! test may kill it at any moment.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use millrace_cli::stack::child;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use crate::metrics::metric_lines;
use crate::process;

/// The result of an invocation.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Response(Value),
    /// The error that the function reported.
    Error(Value),
    /// The process ended before it responded.
    Crashed,
}

impl Outcome {
    /// The response. Otherwise the test fails.
    pub fn response(self) -> Value {
        match self {
            Outcome::Response(value) => value,
            other => panic!("no response but {other:?}"),
        }
    }
}

struct Invocation {
    id: String,
    payload: Bytes,
    deadline_ms: u128,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Invocation>,
    running: HashMap<String, oneshot::Sender<Outcome>>,
}

#[derive(Default)]
struct Api {
    queue: Mutex<Queue>,
    arrived: Notify,
}

impl Api {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("the queue's lock")
    }

    async fn next(&self) -> Invocation {
        loop {
            let mut arrived = pin!(self.arrived.notified());
            // Registered before the check: an invocation that arrives between the check and the wait would otherwise be
            // missed.
            arrived.as_mut().enable();
            if let Some(invocation) = self.queue().waiting.pop_front() {
                return invocation;
            }
            arrived.await;
        }
    }

    fn answer(&self, id: &str, outcome: Outcome) {
        if let Some(sender) = self.queue().running.remove(id) {
            // A test that stopped waiting does not need the result.
            drop(sender.send(outcome));
        }
    }

    /// Fails all current and queued invocations: no process will respond.
    fn crash(&self) {
        let mut queue = self.queue();
        queue.waiting.clear();
        for (_, sender) in queue.running.drain() {
            drop(sender.send(Outcome::Crashed));
        }
    }
}

/// A function's process behind its own Runtime API. It is killed when dropped.
pub struct Function {
    api: Arc<Api>,
    process: Arc<Mutex<Child>>,
    logs: Arc<Mutex<Vec<String>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Function {
    /// Starts `binary` with exactly these variables in addition to Lambda's own.
    pub async fn spawn(binary: &Path, environment: &[(String, String)]) -> Function {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let api = Arc::new(Api::default());
        let server = tokio::spawn(serve(listener, Arc::clone(&api)));
        let mut command = Command::new(binary);
        command
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "function-under-test")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = child::spawn(command, libc::SIGKILL)
            .unwrap_or_else(|error| panic!("start {}: {error}", binary.display()));
        let logs = Arc::new(Mutex::new(Vec::new()));
        let (stdout, stderr) =
            (process.stdout.take().expect("stdout"), process.stderr.take().expect("stderr"));
        collect_lines(stdout, Arc::clone(&logs));
        collect_lines(stderr, Arc::clone(&logs));
        let process = Arc::new(Mutex::new(process));
        watch(Arc::clone(&process), Arc::clone(&api));
        Function { api, process, logs, server }
    }

    /// Invokes the function with `time` until its deadline.
    pub async fn invoke(&self, payload: &Value, time: Duration) -> Outcome {
        let id = Uuid::now_v7().to_string();
        let (sender, receiver) = oneshot::channel();
        let deadline = SystemTime::now() + time;
        let invocation = Invocation {
            id: id.clone(),
            payload: Bytes::from(payload.to_string()),
            deadline_ms: deadline.duration_since(UNIX_EPOCH).expect("after 1970").as_millis(),
        };
        {
            let mut queue = self.api.queue();
            queue.running.insert(id, sender);
            queue.waiting.push_back(invocation);
        }
        self.api.arrived.notify_one();
        if self.has_ended() {
            self.api.crash();
        }
        receiver.await.unwrap_or(Outcome::Crashed)
    }

    fn process(&self) -> MutexGuard<'_, Child> {
        self.process.lock().expect("the process's lock")
    }

    pub fn has_ended(&self) -> bool {
        matches!(self.process().try_wait(), Ok(Some(_)))
    }

    /// Kills the process as a machine failure does: no warning, no clean-up.
    pub fn kill(&self) {
        self.process().kill().expect("kill the function");
    }

    /// Sends the process a signal by name: `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        process::signal(self.process().id(), name);
    }

    /// The peak memory of the process so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process().id())).expect("its status");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("VmHWM");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
    }

    /// The metrics that the function has written so far, each line validated.
    pub fn metrics(&self) -> Vec<Value> {
        metric_lines(&self.logs())
    }

    /// Every line that the function has written so far.
    pub fn logs(&self) -> Vec<String> {
        self.logs.lock().expect("the logs' lock").clone()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        child::stop(&mut self.process(), libc::SIGKILL, Duration::from_secs(5));
        self.server.abort();
        // In every test, no function may write a metric that is invalid or undocumented.
        if !std::thread::panicking() {
            // A killed process may leave a partial line.
            let is_whole = |line: &String| line.ends_with('}');
            metric_lines(&self.logs().into_iter().filter(is_whole).collect::<Vec<_>>());
        }
    }
}

/// The compiled function, as `make test` builds it: in the parent of the test binary's folder.
pub fn binary(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("the test's own path");
    let path = tests.parent().and_then(Path::parent).expect("target/<profile>").join(name);
    assert!(
        path.is_file(),
        "{} is not built: run `make test`, or `cargo build -p {name}` first",
        path.display()
    );
    path
}

fn collect_lines(stream: impl std::io::Read + Send + 'static, logs: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            logs.lock().expect("the logs' lock").push(line);
        }
    });
}

fn watch(process: Arc<Mutex<Child>>, api: Arc<Api>) {
    std::thread::spawn(move || {
        while !matches!(process.lock().expect("the process's lock").try_wait(), Ok(Some(_))) {
            std::thread::sleep(Duration::from_millis(5));
        }
        api.crash();
    });
}

async fn serve(listener: TcpListener, api: Arc<Api>) {
    while let Ok((stream, _)) = listener.accept().await {
        let api = Arc::clone(&api);
        tokio::spawn(async move {
            let service = service_fn(|request| route(request, Arc::clone(&api)));
            // A killed function closes its connection; `watch` detects it.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn route(
    request: Request<Incoming>,
    api: Arc<Api>,
) -> Result<Response<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
    let path = request.uri().path().trim_start_matches("/2018-06-01/runtime/").to_owned();
    if request.method() == Method::GET && path == "invocation/next" {
        let invocation = api.next().await;
        return Ok(Response::builder()
            .header("Lambda-Runtime-Aws-Request-Id", invocation.id)
            .header("Lambda-Runtime-Deadline-Ms", invocation.deadline_ms.to_string())
            .header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:function:f")
            .header("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700")
            .header("Content-Type", "application/json")
            .body(Full::new(invocation.payload))?);
    }
    let body = request.into_body().collect().await?.to_bytes();
    let value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["invocation", id, "response"] => api.answer(id, Outcome::Response(value)),
        ["invocation", id, "error"] => api.answer(id, Outcome::Error(value)),
        // The process ends by itself after this, and `watch` detects it.
        ["init", "error"] => {}
        _ => return Ok(Response::builder().status(StatusCode::NOT_FOUND).body(Full::default())?),
    }
    Ok(Response::builder().status(StatusCode::ACCEPTED).body(Full::default())?)
}
