//! A double of Lambda's Invoke API: it runs the compiled functions, each with its own Runtime API.
//!
//! The local AWS invokes only functions that are deployed to it, which needs a whole stack. Here a test starts, kills
//! and replaces functions one by one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::runtime_api::{Function, Outcome};

/// The time of an invocation. It suffices for any test.
const TIME: Duration = Duration::from_secs(60);

type Functions = Arc<Mutex<HashMap<String, Arc<Function>>>>;

/// Functions by name.
pub struct Lambda {
    endpoint: String,
    functions: Functions,
    server: tokio::task::JoinHandle<()>,
}

impl Lambda {
    pub async fn start() -> Lambda {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let functions = Functions::default();
        let server = tokio::spawn(serve(listener, Arc::clone(&functions)));
        Lambda { endpoint, functions, server }
    }

    /// For `AWS_ENDPOINT_URL_LAMBDA`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Registers the function `name`. The previous one is killed.
    pub fn deploy(&self, name: &str, function: Function) -> Arc<Function> {
        let function = Arc::new(function);
        lock(&self.functions).insert(name.to_owned(), Arc::clone(&function));
        function
    }

    /// The function of that name.
    pub fn get(&self, name: &str) -> Arc<Function> {
        Arc::clone(lock(&self.functions).get(name).expect("a function of this name"))
    }

    /// Removes the function of that name.
    pub fn remove(&self, name: &str) {
        lock(&self.functions).remove(name);
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock(functions: &Functions) -> MutexGuard<'_, HashMap<String, Arc<Function>>> {
    functions.lock().expect("the functions' lock")
}

async fn serve(listener: TcpListener, functions: Functions) {
    while let Ok((stream, _)) = listener.accept().await {
        let functions = Arc::clone(&functions);
        tokio::spawn(async move {
            let service = service_fn(|request| invoke(request, Arc::clone(&functions)));
            // A killed caller closes its connection.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn invoke(
    request: Request<Incoming>,
    functions: Functions,
) -> Result<Response<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
    let path = request.uri().path().to_owned();
    let name = path.strip_prefix("/2015-03-31/functions/").and_then(|rest| rest.strip_suffix("/invocations"));
    let function = name.and_then(|name| lock(&functions).get(name).cloned());
    let Some(function) = function else {
        let body = json!({ "Type": "User", "message": format!("Function not found: {path}") });
        return Ok(Response::builder()
            .status(StatusCode::NOT_FOUND)
            .header("X-Amzn-Errortype", "ResourceNotFoundException")
            .body(Full::new(body.to_string().into()))?);
    };
    let payload: Value = serde_json::from_slice(&request.into_body().collect().await?.to_bytes())?;
    let (failed, body) = match function.invoke(&payload, TIME).await {
        Outcome::Response(value) => (false, value),
        Outcome::Error(value) => (true, value),
        Outcome::Crashed => (true, json!({ "errorType": "Runtime.ExitError", "errorMessage": "it exited" })),
    };
    let mut response = Response::builder().status(StatusCode::OK);
    if failed {
        response = response.header("X-Amz-Function-Error", "Unhandled");
    }
    Ok(response.body(Full::new(body.to_string().into()))?)
}
