//! `millrace send` and `millrace verify`, run as a user runs them.

use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use millrace_tests::aws::Aws;
use millrace_tests::runtime_api::binary;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::process::Command;

const SECRET: &str = "It's a Secret to Everybody";
const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// An endpoint that records requests and always gives the same response.
struct Endpoint {
    url: String,
    received: Arc<Mutex<Vec<Delivery>>>,
    server: tokio::task::JoinHandle<()>,
}

#[derive(Debug, Clone)]
struct Delivery {
    path: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Delivery {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Endpoint {
    async fn answering(status: u16, answer: &'static str) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/webhooks", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&received);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                let service = service_fn(move |request| receive(request, Arc::clone(&kept), status, answer));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Endpoint { url, received, server }
    }

    /// The deliveries that arrived since the last call.
    fn take(&self) -> Delivery {
        let mut received = self.received.lock().unwrap();
        assert_eq!(received.len(), 1, "{received:?}");
        received.remove(0)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(
    request: Request<Incoming>,
    kept: Arc<Mutex<Vec<Delivery>>>,
    status: u16,
    answer: &'static str,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let delivery = Delivery {
        path: head.uri.path().to_owned(),
        headers: head
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect(),
        body: body.collect().await?.to_bytes(),
    };
    kept.lock().unwrap().push(delivery);
    let mut response = Response::new(Full::new(Bytes::from_static(answer.as_bytes())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert("retry-after", "7".parse().unwrap());
    Ok(response)
}

fn variables(more: &[(&str, &str)]) -> Vec<(String, String)> {
    let secrets = ["GITHUB", "STRIPE", "SHOPIFY", "SLACK", "HMAC", "BEARER", "API_KEY"]
        .map(|name| (format!("MILLRACE_SECRET_{name}"), SECRET.to_owned()));
    let others = [("MILLRACE_SECRET_STANDARD", STANDARD_SECRET), ("MILLRACE_SECRET_BASIC", "user:pass")];
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    secrets.into_iter().chain(others.iter().map(owned)).chain(more.iter().map(owned)).collect()
}

async fn millrace(arguments: &[&str], variables: &[(String, String)], input: &str) -> Output {
    let mut child = Command::new(binary("millrace"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().cloned())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that reads no input may have ended.
    drop(stdin.write_all(input.as_bytes()).await);
    drop(stdin);
    child.wait_with_output().await.unwrap()
}

/// The whole output.
fn said(output: &Output) -> String {
    String::from_utf8([output.stdout.as_slice(), output.stderr.as_slice()].concat()).unwrap()
}

fn write(folder: &TempDir, name: &str, content: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn deliveries_sent_for_every_preset_are_accepted() {
    let endpoint = Endpoint::answering(202, r#"{"status": "stored"}"#).await;
    let variables = variables(&[("MILLRACE_WEBHOOK_URL", &endpoint.url)]);
    let folder = TempDir::new().unwrap();
    let body = r#"{"id": "evt_1", "type": "invoice.paid", "event_id": "Ev1", "event": {"type": "message"}}"#;
    let file = write(&folder, "body.json", body);
    for source in ["standard", "github", "stripe", "shopify", "slack", "hmac", "bearer", "basic", "api_key"] {
        let sent = millrace(&["send", source, &file], &variables, "").await;
        assert_eq!(sent.status.code(), Some(0), "{}", said(&sent));
        assert!(said(&sent).contains("202 Accepted") && said(&sent).contains("stored"), "{}", said(&sent));
        let delivery = endpoint.take();
        assert_eq!(delivery.path, format!("/webhooks/{source}"));
        assert_eq!(delivery.body, body);
        assert_eq!(delivery.header("content-type"), Some("application/json"));

        let mut arguments = vec!["verify".to_owned(), source.to_owned(), "--body".to_owned(), file.clone()];
        for (name, value) in &delivery.headers {
            arguments.extend(["--header".to_owned(), format!("{name}: {value}")]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let verified = millrace(&arguments, &variables, "").await;
        assert_eq!(verified.status.code(), Some(0), "{source}: {}", said(&verified));
        assert!(said(&verified).contains("accepted"), "{source}: {}", said(&verified));
    }
}

#[tokio::test]
async fn id_event_type_and_host_are_as_requested() {
    let endpoint = Endpoint::answering(202, "").await;
    let variables = variables(&[
        ("MILLRACE_WEBHOOK_URL", &endpoint.url),
        ("MILLRACE_WEBHOOK_HOST", "abc.execute-api.localhost:4566"),
    ]);
    let arguments = ["send", "github", "-", "--event-type", "push", "--id", "72d3162e"];
    let sent = millrace(&arguments, &variables, "Hello, World!").await;
    assert_eq!(sent.status.code(), Some(0), "{}", said(&sent));
    let delivery = endpoint.take();
    assert_eq!(delivery.header("x-github-event"), Some("push"));
    assert_eq!(delivery.header("x-github-delivery"), Some("72d3162e"));
    assert_eq!(delivery.header("host"), Some("abc.execute-api.localhost:4566"));
    assert_eq!(
        delivery.header("x-hub-signature-256"),
        Some("sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")
    );

    // Another URL has another host.
    let url = endpoint.url.replace("/webhooks", "/other/");
    let sent = millrace(&["send", "stripe", "-", "--url", &url], &variables, "{}").await;
    assert_eq!(sent.status.code(), Some(0), "{}", said(&sent));
    let delivery = endpoint.take();
    assert_eq!(delivery.path, "/other/stripe");
    assert!(delivery.header("host").is_some_and(|host| host.starts_with("127.0.0.1:")));

    let refused = millrace(&["send", "stripe", "-", "--id", "7"], &variables, "{}").await;
    assert_eq!(refused.status.code(), Some(2));
    assert!(said(&refused).contains("`delivery_id` comes from the body"), "{}", said(&refused));
}

#[tokio::test]
async fn any_other_status_than_2xx_is_a_failure() {
    for (status, words) in [(401, "401 Unauthorized"), (503, "503 Service Unavailable"), (302, "302 Found")] {
        let endpoint = Endpoint::answering(status, r#"{"title": "why"}"#).await;
        let variables = variables(&[("MILLRACE_WEBHOOK_URL", &endpoint.url)]);
        let sent = millrace(&["send", "bearer", "-"], &variables, "{}").await;
        assert_eq!(sent.status.code(), Some(1), "{}", said(&sent));
        for words in [words, "why", "Retry-After: 7"] {
            assert!(said(&sent).contains(words), "{}", said(&sent));
        }
        assert!(!said(&sent).contains(SECRET));
    }
}

#[tokio::test]
async fn missing_input_is_reported_with_advice() {
    let folder = TempDir::new().unwrap();
    let body = write(&folder, "body.json", "{}");
    let nobody = "http://127.0.0.1:1/webhooks";
    write(&folder, "sources.toml", "[github.webhook]\npreset = 'github'\nsecret = 'env:UNSET'\n[nyc.csv]\n");
    let unset = [
        ("MILLRACE_WEBHOOK_URL".to_owned(), nobody.to_owned()),
        ("MILLRACE_PIPELINE".to_owned(), folder.path().display().to_string()),
    ];
    let all = variables(&[]);
    for (arguments, variables, words) in [
        (vec!["send", "gihub", &body], &unset[..], "did you mean `github`?"),
        (vec!["send", "nyc", &body], &unset, "no source `nyc` has a webhook"),
        (vec!["send", "github", &body], &unset, "env:UNSET: the variable is not set"),
        (vec!["verify", "github", "--body", &body], &unset, "env:UNSET: the variable is not set"),
        (vec!["send", "github", "/none", "--url", nobody], &all, "read /none"),
        (vec!["send", "github", &body, "--url", nobody], &all, "is `make dev` running?"),
        (vec!["send", "github", &body, "--url", "ftp://a"], &all, "must begin with http://"),
    ] {
        let output = millrace(&arguments, variables, "").await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(words), "{arguments:?}: {}", said(&output));
    }
}

#[tokio::test]
async fn a_secret_that_the_local_stack_did_not_create_needs_a_restart() {
    let folder = TempDir::new().unwrap();
    let source = "[shop.webhook]\npreset = 'bearer'\nsecret = 'secretsmanager:millrace/not-created'\n";
    write(&folder, "sources.toml", source);
    let mut variables = Aws::new().await.variables("postgresql://a@127.0.0.1:1/x");
    variables.push(("MILLRACE_PIPELINE".to_owned(), folder.path().display().to_string()));
    let sent = millrace(&["send", "shop", "-", "--url", "http://127.0.0.1:1"], &variables, "{}").await;
    assert_eq!(sent.status.code(), Some(2), "{}", said(&sent));
    for words in ["run `make dev` again", "the secret secretsmanager:millrace/not-created"] {
        assert!(said(&sent).contains(words), "{}", said(&sent));
    }
}

#[tokio::test]
async fn a_refused_delivery_is_explained_and_no_secret_is_shown() {
    let folder = TempDir::new().unwrap();
    let variables = variables(&[]);
    let body = write(&folder, "body", "Hello, World!");
    let longer = write(&folder, "longer", "Hello, World!\n");
    let signature =
        "X-Hub-Signature-256: sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let stale = format!("Stripe-Signature: t={},v1={}", now - 400, "0".repeat(64));
    for (arguments, code, words) in [
        (vec!["github", "--body", &body, "--header", signature], 0, &["accepted", "event type   event"][..]),
        (
            vec!["github", "--body", &longer, "--header", signature],
            1,
            &["no_signature_matches", "without its final line end"],
        ),
        (
            vec!["github", "--body", &body, "-H", "X-Hub-Signature: sha1=00"],
            1,
            &["missing_header", "X-Hub-Signature-256", "Given are x-hub-signature."],
        ),
        (
            vec!["stripe", "--body", &body, "-H", &stale],
            1,
            &["timestamp_too_old", "signed 4", "does not match either"],
        ),
        (vec!["bearer", "--body", &body, "-H", "Authorization: Bearer x"], 1, &["wrong_credentials"]),
        (vec!["github", "--body", &body, "-H", "nonsense"], 2, &["write 'NAME: VALUE'"]),
    ] {
        let arguments: Vec<&str> = ["verify"].into_iter().chain(arguments).collect();
        let output = millrace(&arguments, &variables, "").await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
        for words in words {
            assert!(said(&output).contains(words), "{arguments:?}: {}", said(&output));
        }
        assert!(!said(&output).contains(SECRET), "{}", said(&output));
    }
}

#[tokio::test]
async fn an_old_delivery_is_verified_as_of_its_own_time() {
    let folder = TempDir::new().unwrap();
    let variables = variables(&[]);
    let body = write(&folder, "body.json", r#"{"test": 2432232314}"#);
    let verify = async |body: &Path, more: &[&str]| {
        let headers = [
            "webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp: 1614265330",
            "webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ];
        let mut arguments = vec!["verify", "standard", "--body", body.to_str().unwrap()];
        arguments.extend(headers.iter().flat_map(|header| ["--header", header]));
        arguments.extend(more);
        millrace(&arguments, &variables, "").await
    };
    let body = Path::new(&body);
    for (at, code) in [("1614265330", 0), ("1614265630", 0), ("1614265631", 1), ("1614265029", 1)] {
        let output = verify(body, &["--at", at]).await;
        assert_eq!(output.status.code(), Some(code), "{at}: {}", said(&output));
    }
    let today = verify(body, &[]).await;
    assert_eq!(today.status.code(), Some(1));
    assert!(said(&today).contains("with --at 1614265330 it is accepted"), "{}", said(&today));
}
