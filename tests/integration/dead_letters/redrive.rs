//! `millrace dead-letters redrive` against a double of Lambda's Invoke API: its requests, and its output for each
//! response. tests/integration/redrive tests the function itself.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use millrace_tests::runtime_api::binary;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;

use super::fixture::{said, signal};

/// The double's response to one invocation.
#[derive(Clone)]
enum Answer {
    Says(Value),
    /// The function failed; Lambda's response for this.
    Fails(Value),
    /// Lambda itself refuses the request.
    Refuses(u16, &'static str),
    /// The connection closes after the request.
    Hangs,
    Drops,
}

/// The function's response. Counts that are not given are zero.
fn says(counts: Value) -> Answer {
    let mut answer = json!({ "redriven": 0, "duplicate": 0, "void": 0, "failed": 0, "pending": 0, "left": 0, "more": false, "reasons": [] });
    answer.as_object_mut().unwrap().extend(counts.as_object().unwrap().clone());
    Answer::Says(answer)
}

/// A double of `POST /2015-03-31/functions/<name>/invocations`.
struct Lambda {
    port: u16,
    requests: Arc<Mutex<Vec<(String, Value)>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Lambda {
    async fn answering(answers: Vec<Answer>) -> Lambda {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
        let kept = Arc::clone(&requests);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, answers) = (Arc::clone(&kept), Arc::clone(&answers));
                let service =
                    service_fn(move |request| answer(request, Arc::clone(&kept), Arc::clone(&answers)));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Lambda { port, requests, server }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("millrace"));
        let endpoint = format!("http://127.0.0.1:{}", self.port);
        command
            .args(["dead-letters", "redrive"])
            .args(arguments)
            .env_clear()
            .envs([
                ("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none"),
                ("AWS_ENDPOINT_URL", &*endpoint),
                ("AWS_REGION", "us-east-1"),
                ("AWS_ACCESS_KEY_ID", "test"),
                ("AWS_SECRET_ACCESS_KEY", "test"),
                ("MILLRACE_BUCKET", "bucket"),
                ("MILLRACE_UPLOAD_QUEUE_URL", "http://127.0.0.1:1/uploads"),
                ("MILLRACE_DEAD_LETTER_QUEUE_URL", "http://127.0.0.1:1/dead-letters"),
                ("MILLRACE_REDRIVE_FUNCTION", "millrace-redrive"),
            ])
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, arguments: &[&str]) -> std::process::Output {
        self.command(arguments).output().await.unwrap()
    }

    fn requests(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(
    request: Request<Incoming>,
    kept: Arc<Mutex<Vec<(String, Value)>>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    kept.lock().unwrap().push((head.uri.path().to_owned(), serde_json::from_slice(&body).unwrap()));
    let next = answers.lock().unwrap().pop_front().expect("an answer");
    let body = |value: &Value| Full::new(Bytes::from(value.to_string()));
    let response = match next {
        Answer::Says(value) => Response::builder().status(200).body(body(&value)),
        Answer::Fails(value) => {
            Response::builder().status(200).header("X-Amz-Function-Error", "Unhandled").body(body(&value))
        }
        Answer::Refuses(status, code) => Response::builder()
            .status(status)
            .header("x-amzn-ErrorType", code)
            .body(body(&json!({ "Message": "canary of Lambda" }))),
        Answer::Hangs => std::future::pending().await,
        Answer::Drops => return Err(std::io::Error::other("gone")),
    };
    response.map_err(std::io::Error::other)
}

#[tokio::test]
async fn the_function_is_invoked_until_nothing_is_left_and_runs_are_added_up() {
    let lambda = Lambda::answering(vec![
        says(json!({ "redriven": 1_000, "duplicate": 2, "void": 0, "failed": 0, "pending": 0, "left": 7, "more": true, "reasons": [] })),
        says(json!({ "redriven": 500, "duplicate": 0, "void": 3, "failed": 0, "pending": 4, "left": 5, "more": false, "reasons": [] })),
    ])
    .await;
    let arguments = [
        "--kind",
        "event",
        "--model",
        "orders",
        "--source",
        "shop/orders",
        "--newer-than",
        "2d",
        "--rate",
        "50",
    ];
    let output = lambda.run(&arguments).await;
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for words in ["1,500  redriven", "2  duplicate", "3  void", "4  pending", "5  left"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let requests = lambda.requests();
    assert_eq!(requests.len(), 2);
    for (path, request) in &requests {
        assert_eq!(path, "/2015-03-31/functions/millrace-redrive/invocations");
        assert_eq!((&request["action"], &request["rate"]), (&json!("redrive"), &json!(50)));
        let filter = &request["filter"];
        assert_eq!((&filter["kind"], &filter["model"]), (&json!("event"), &json!("orders")));
        assert_eq!((&filter["source"], &filter["event_type"]), (&json!("shop"), &json!("orders")));
        assert!(filter["failed_since"].is_string() && filter.get("failed_before").is_none(), "{filter}");
        assert!(request.get("at_most").is_none());
    }
    // A dead letter that fails again during the run is sent after this time, and is not redriven twice.
    assert!(requests[0].1["sent_before"].is_string());
    assert_eq!(requests[0].1["sent_before"], requests[1].1["sent_before"]);
}

#[tokio::test]
async fn dead_letters_that_fail_again_are_reported_with_their_reasons() {
    let reasons = json!([{ "code": "wrong_type", "message": "x is \u{1b}no number", "count": 2 }]);
    let answer = json!({ "redriven": 1, "failed": 2, "left": 2, "more": false, "reasons": reasons });
    let lambda = Lambda::answering(vec![says(answer.clone()), says(answer)]).await;
    let output = lambda.run(&["--all"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    for words in ["2  failed again", "wrong_type", "x is ·no number"] {
        assert!(said(&output).contains(words), "{words}: {}", said(&output));
    }
    assert_eq!(lambda.requests()[0].1["filter"], json!({}));
    let output = lambda.run(&["--all", "--json"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let sums: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&sums["redriven"], &sums["failed"], &sums["runs"]), (&json!(1), &json!(2), &json!(1)));
    assert_eq!(sums["reasons"][0]["count"], 2);
}

#[tokio::test]
async fn at_most_limits_all_runs_together() {
    let answer = |redriven| says(json!({ "redriven": redriven, "left": 9, "more": true }));
    let lambda = Lambda::answering(vec![answer(6), answer(4)]).await;
    let output = lambda.run(&["--kind", "rows", "--at-most", "10"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let asked: Vec<Value> =
        lambda.requests().into_iter().map(|(_, request)| request["at_most"].clone()).collect();
    assert_eq!(asked, [10, 4]);
}

#[tokio::test]
async fn a_failure_is_reported_once_and_nothing_is_sent_twice() {
    let some = says(json!({ "redriven": 3, "more": true }));
    let nothing = says(json!({ "more": true }));
    let failure = Answer::Fails(json!({ "errorMessage": "no database", "errorType": "Error" }));
    for (answers, words, requests) in [
        (vec![failure], &["millrace-redrive failed: no database"][..], 1),
        (
            vec![Answer::Refuses(404, "ResourceNotFoundException")],
            &["ResourceNotFoundException", "canary of Lambda"],
            1,
        ),
        (vec![Answer::Drops], &["invoke the function millrace-redrive"], 1),
        (vec![Answer::Says(json!({ "archived": 1 }))], &["is not that of redrive"], 1),
        (vec![nothing.clone(), nothing.clone(), nothing], &["no progress in 3 consecutive runs"], 3),
        // The outcomes before the failure are reported too.
        (vec![some, Answer::Drops], &["3  redriven", "invoke the function"], 2),
    ] {
        let lambda = Lambda::answering(answers).await;
        let output = lambda.run(&["--all"]).await;
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        for words in words {
            assert!(said(&output).contains(words), "{words}: {}", said(&output));
        }
        assert_eq!(lambda.requests().len(), requests, "{}", said(&output));
    }
}

#[tokio::test]
async fn without_a_function_it_names_the_missing_variable() {
    let lambda = Lambda::answering(Vec::new()).await;
    let output = lambda.command(&["--all"]).env_remove("MILLRACE_REDRIVE_FUNCTION").output().await.unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("MILLRACE_REDRIVE_FUNCTION: missing"), "{}", said(&output));
}

#[tokio::test]
async fn on_interruption_it_reports_that_the_function_continues() {
    let lambda = Lambda::answering(vec![says(json!({ "redriven": 3, "more": true })), Answer::Hangs]).await;
    let child = lambda.command(&["--all", "--json"]).spawn().unwrap();
    for _ in 0..2_000 {
        if lambda.requests.lock().unwrap().len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    signal(&child, "INT");
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("run this again to continue"), "{}", said(&output));
    let sums: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&sums["redriven"], &sums["more"]), (&json!(3), &json!(true)));
}
