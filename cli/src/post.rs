//! One HTTP request and its response.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderMap, HeaderValue};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use millrace::{Error, Kind, Result};

/// API Gateway times out after 30 s.
const TIMEOUT: Duration = Duration::from_secs(35);
const MAX_ANSWER_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub struct PostResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Posts `body`. Returns `None` on a timeout.
///
/// # Errors
/// When the server does not listen or does not respond with HTTP.
pub async fn post(
    url: &str,
    host: Option<&str>,
    headers: HeaderMap,
    body: Vec<u8>,
) -> Result<Option<PostResponse>> {
    let wrong = |what: &str| Error::new(Kind::Config, format!("{url}: {what}"));
    let uri: Uri = url.parse().map_err(|_| wrong("this is not a URL"))?;
    let scheme = uri.scheme_str().map(str::to_owned);
    let mut request =
        Request::post(uri).body(Full::new(Bytes::from(body))).map_err(|_| wrong("this is not a URL"))?;
    request.headers_mut().extend(headers);
    if let Some(host) = host {
        let host =
            HeaderValue::try_from(host).map_err(|_| wrong("MILLRACE_WEBHOOK_HOST is not a host name"))?;
        request.headers_mut().insert(HOST, host);
    }
    match scheme.as_deref() {
        Some("http") => exchange(HttpConnector::new(), request, url).await,
        Some("https") => {
            let roots = HttpsConnectorBuilder::new()
                .with_native_roots()
                .map_err(|error| wrong("this machine has no root certificates").with_source(error))?;
            exchange(roots.https_only().enable_http1().build(), request, url).await
        }
        _ => Err(wrong("it must begin with http:// or https://")),
    }
}

async fn exchange(
    connector: impl Connect + Clone + Send + Sync + 'static,
    request: Request<Full<Bytes>>,
    url: &str,
) -> Result<Option<PostResponse>> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        let advice = format!("no answer from {url}: is `make dev` running?");
        Error::new(Kind::Config, advice).with_source(error)
    };
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let exchange = async {
        let response = client.request(request).await.map_err(|error| failed(error.into()))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(failed)?.to_bytes();
        Ok(PostResponse { status: head.status, headers: head.headers, body })
    };
    tokio::time::timeout(TIMEOUT, exchange).await.ok().transpose()
}
