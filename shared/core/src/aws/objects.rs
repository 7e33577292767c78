//! Puts, gets and deletes whole objects of S3.
//!
//! Most functions only store a large dead letter. The S3 SDK would be a large part of them, so these three requests are made
//! from the parts that every SDK links: the signer, the HTTP client and the retries.

use std::fmt;
use std::pin::Pin;

use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_runtime::auth::{SigV4OperationSigningConfig, SigningOptions};
use aws_runtime::retries::classifiers::AwsErrorCodeClassifier;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime::client::retries::classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::auth::AuthSchemeOptionResolverParams;
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_runtime_api::client::runtime_plugin::{SharedRuntimePlugin, StaticRuntimePlugin};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::Layer;
use aws_smithy_types::error::ErrorMetadata;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::region::{Region, SigningRegion};
use aws_types::service_config::ServiceConfigKey;
use aws_types::{SdkConfig, SigningName};
use bytes::Bytes;
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::RequestFailpoints;

/// What S3 leaves as it is in the path of a key.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

pub type ObjectError = SdkError<ObjectRefusal, HttpResponse>;

/// A client for whole objects. Clones share their connections.
#[derive(Debug, Clone)]
pub struct ObjectClient {
    config: SdkConfig,
    signing: SharedRuntimePlugin,
}

/// S3 refused a request.
#[derive(Debug)]
pub struct ObjectRefusal {
    status: u16,
    meta: ErrorMetadata,
}

impl ObjectRefusal {
    /// Whether there is no such object.
    pub fn is_no_such_key(&self) -> bool {
        self.meta.code() == Some("NoSuchKey")
    }
}

impl fmt::Display for ObjectRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.meta.code().unwrap_or("no code");
        let message = self.meta.message().unwrap_or("no message");
        write!(f, "{code}: {message} (HTTP status {})", self.status)
    }
}

impl std::error::Error for ObjectRefusal {}

impl ProvideErrorMetadata for ObjectRefusal {
    fn meta(&self) -> &ErrorMetadata {
        &self.meta
    }
}

#[derive(Debug)]
struct Request {
    method: Method,
    path: String,
    content_type: Option<&'static str>,
    body: Bytes,
}

impl ObjectClient {
    pub fn new(config: &SdkConfig) -> Self {
        ObjectClient { config: config.clone(), signing: signing(config) }
    }

    pub async fn put(
        &self,
        bucket: &str,
        key: &str,
        content_type: &'static str,
        body: impl Into<Bytes>,
    ) -> Result<(), ObjectError> {
        self.send(Method::PUT, bucket, key, Some(content_type), body.into()).await.map(|_empty| ())
    }

    pub async fn get(&self, bucket: &str, key: &str) -> Result<Bytes, ObjectError> {
        self.send(Method::GET, bucket, key, None, Bytes::new()).await
    }

    /// Succeeds also when there is no such object.
    pub async fn delete(&self, bucket: &str, key: &str) -> Result<(), ObjectError> {
        self.send(Method::DELETE, bucket, key, None, Bytes::new()).await.map(|_empty| ())
    }

    async fn send(
        &self,
        method: Method,
        bucket: &str,
        key: &str,
        content_type: Option<&'static str>,
        body: Bytes,
    ) -> Result<Bytes, ObjectError> {
        let region = self.config.region().ok_or_else(|| {
            SdkError::construction_failure("no region is set: set the environment variable AWS_REGION")
        })?;
        let (endpoint, path) = match endpoint_override(&self.config) {
            Some(endpoint) => (endpoint, path_style(bucket, key)),
            None => address(&self.config, region, bucket, key),
        };
        let mut operation = Operation::builder()
            .service_name("S3")
            .operation_name(operation_name(&method))
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&endpoint)
            .with_connection_poisoning()
            .interceptor(RequestFailpoints)
            .retry_classifier(TransientErrorClassifier::<ObjectRefusal>::new())
            .retry_classifier(HttpStatusCodeClassifier::default())
            .retry_classifier(AwsErrorCodeClassifier::<ObjectRefusal>::new())
            .runtime_plugin(self.signing.clone());
        if let Some(client) = self.config.http_client() {
            operation = operation.http_client(client);
        }
        if let Some(sleep) = self.config.sleep_impl() {
            operation = operation.sleep_impl(sleep);
        }
        if let Some(time) = self.config.time_source() {
            operation = operation.time_source(time);
        }
        if let Some(retries) = self.config.retry_config() {
            operation = operation.standard_retry(retries);
        }
        if let Some(timeouts) = self.config.timeout_config() {
            operation = operation.timeout_config(timeouts.clone());
        }
        let request = Request { method, path, content_type, body };
        let operation = operation.serializer(serialize).deserializer(deserialize).build();
        // Boxed: the futures of the SDK inside those of a function are too deep for the compiler.
        let answer: Pin<Box<dyn Future<Output = Result<Bytes, ObjectError>> + Send + '_>> =
            Box::pin(operation.invoke(request));
        answer.await
    }
}

fn operation_name(method: &Method) -> &'static str {
    match *method {
        Method::PUT => "PutObject",
        Method::DELETE => "DeleteObject",
        _ => "GetObject",
    }
}

/// Signature version 4 as S3 computes it: the path is encoded once, and the checksum of the body is a header.
fn signing(config: &SdkConfig) -> SharedRuntimePlugin {
    let mut options = SigningOptions::default();
    options.double_uri_encode = false;
    options.normalize_uri_path = false;
    options.content_sha256_header = true;
    let mut layer = Layer::new("objects");
    layer.store_put(AuthSchemeOptionResolverParams::new(()));
    layer.store_put(SigV4OperationSigningConfig {
        region: config.region().cloned().map(SigningRegion::from),
        name: Some(SigningName::from_static("s3")),
        signing_options: options,
        ..SigV4OperationSigningConfig::default()
    });
    let mut components = RuntimeComponentsBuilder::new("objects")
        .with_auth_scheme_option_resolver(Some(StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID])))
        .with_auth_scheme(SigV4AuthScheme::new())
        .with_identity_cache(config.identity_cache());
    if let Some(credentials) = config.credentials_provider() {
        components.set_identity_resolver(SCHEME_ID, credentials);
    }
    SharedRuntimePlugin::new(
        StaticRuntimePlugin::new().with_config(layer.freeze()).with_runtime_components(components),
    )
}

/// `AWS_ENDPOINT_URL_S3`, or `AWS_ENDPOINT_URL`, or the endpoint that the program has set.
fn endpoint_override(config: &SdkConfig) -> Option<String> {
    let of_all = config.endpoint_url().map(str::to_owned);
    if config.get_origin("endpoint_url").is_client_config() {
        return of_all;
    }
    let key = ServiceConfigKey::builder()
        .service_id("S3")
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok()?;
    config.service_config().and_then(|service| service.load_config(key)).or(of_all)
}

/// The endpoint and the path of an object in AWS. A bucket with dots is not covered by the certificate of S3, so that its name
/// is part of the path.
fn address(config: &SdkConfig, region: &Region, bucket: &str, key: &str) -> (String, String) {
    let fips = if config.use_fips() == Some(true) { "-fips" } else { "" };
    let dual_stack = if config.use_dual_stack() == Some(true) { ".dualstack" } else { "" };
    let suffix = match region.as_ref() {
        region if region.starts_with("cn-") => "amazonaws.com.cn",
        region if region.starts_with("eusc-") => "amazonaws.eu",
        region if region.starts_with("us-iso-") => "c2s.ic.gov",
        region if region.starts_with("us-isob-") => "sc2s.sgov.gov",
        region if region.starts_with("us-isof-") => "csp.hci.ic.gov",
        region if region.starts_with("eu-isoe-") => "cloud.adc-e.uk",
        _ => "amazonaws.com",
    };
    let host = format!("s3{fips}{dual_stack}.{region}.{suffix}");
    // Anything else would change the host.
    let is_label = bucket.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if is_label && !bucket.is_empty() {
        (format!("https://{bucket}.{host}"), format!("/{}", utf8_percent_encode(key, PATH)))
    } else {
        (format!("https://{host}"), path_style(bucket, key))
    }
}

fn path_style(bucket: &str, key: &str) -> String {
    format!("/{}/{}", utf8_percent_encode(bucket, PATH), utf8_percent_encode(key, PATH))
}

fn serialize(request: Request) -> Result<HttpRequest, BoxError> {
    let mut http = HttpRequest::new(SdkBody::from(request.body));
    http.set_method(request.method.as_str())?;
    http.set_uri(request.path)?;
    if let Some(content_type) = request.content_type {
        http.headers_mut().insert("content-type", content_type);
    }
    Ok(http)
}

fn deserialize(response: &HttpResponse) -> Result<Bytes, OrchestratorError<ObjectRefusal>> {
    let body = response.body().bytes().unwrap_or_default();
    if response.status().is_success() {
        return Ok(Bytes::copy_from_slice(body));
    }
    let text = String::from_utf8_lossy(body);
    let mut meta = ErrorMetadata::builder();
    if let Some(code) = element(&text, "Code") {
        meta = meta.code(code);
    }
    if let Some(message) = element(&text, "Message") {
        meta = meta.message(message);
    }
    Err(OrchestratorError::operation(ObjectRefusal {
        status: response.status().as_u16(),
        meta: meta.build(),
    }))
}

/// The text of the first element `name` in the XML of an error.
fn element<'t>(xml: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once("</").map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, UNIX_EPOCH};

    use aws_config::identity::IdentityCache;
    use aws_config::retry::RetryConfig;
    use aws_config::timeout::TimeoutConfig;
    use aws_credential_types::Credentials;
    use aws_credential_types::provider::SharedCredentialsProvider;
    use aws_smithy_async::time::StaticTimeSource;
    use aws_smithy_runtime_api::client::http::{
        HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
    };

    use super::*;

    /// Answers with the next of its responses, and keeps the requests.
    #[derive(Debug, Clone, Default)]
    struct Server {
        responses: Arc<Mutex<VecDeque<(u16, &'static str)>>>,
        requests: Arc<Mutex<Vec<HttpRequest>>>,
    }

    impl HttpConnector for Server {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            self.requests.lock().unwrap().push(request);
            let (status, body) = self.responses.lock().unwrap().pop_front().unwrap_or((200, ""));
            let status = http::StatusCode::from_u16(status).unwrap().into();
            HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(body))))
        }
    }

    impl Server {
        fn client(&self) -> ObjectClient {
            let connector = SharedHttpConnector::new(self.clone());
            let credentials = Credentials::builder()
                .access_key_id("AKIDEXAMPLE")
                .secret_access_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
                .session_token("session")
                .provider_name("test")
                .build();
            let config = SdkConfig::builder()
                .behavior_version(BehaviorVersion::latest())
                .http_client(http_client_fn(move |_, _| connector.clone()))
                .region(Region::new("eu-central-1"))
                .credentials_provider(SharedCredentialsProvider::new(credentials))
                .identity_cache(IdentityCache::lazy().build())
                // 2026-11-29 at 12:00.
                .time_source(StaticTimeSource::new(UNIX_EPOCH + Duration::from_secs(1_795_953_600)))
                .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_nanos(1)))
                .timeout_config(TimeoutConfig::builder().build())
                .build();
            ObjectClient::new(&config)
        }
    }

    fn config(region: &'static str) -> SdkConfig {
        SdkConfig::builder().region(Region::new(region)).build()
    }

    #[tokio::test]
    async fn requests_have_the_signatures_that_botocore_computes() {
        let server = Server::default();
        let client = server.client();
        client.put("bucket", "dead-letters/a b+ä.json", "application/json", "{\"id\":1}").await.unwrap();
        client.get("bucket", "dead-letters/1.json").await.unwrap();
        let requests = server.requests.lock().unwrap();
        for (request, method, uri, signature) in [
            (
                &requests[0],
                "PUT",
                "https://bucket.s3.eu-central-1.amazonaws.com/dead-letters/a%20b%2B%C3%A4.json",
                "SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token, \
                 Signature=d94cc74f7a19d3b815530516c301afaa26a81fc692582e47825d51ed38bdd43d",
            ),
            (
                &requests[1],
                "GET",
                "https://bucket.s3.eu-central-1.amazonaws.com/dead-letters/1.json",
                "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token, \
                 Signature=46a4b6de8d44751563615073369d3f90e0f61663ab73e1dd6a145eeb7c8cc3b1",
            ),
        ] {
            assert_eq!((request.method(), request.uri()), (method, uri));
            let authorization = request.headers().get("authorization").unwrap();
            assert!(authorization.ends_with(signature), "{authorization}");
        }
    }

    #[tokio::test]
    async fn a_server_error_is_retried_and_a_refusal_is_not() {
        let server = Server::default();
        let missing = "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>no key</Message></Error>";
        server.responses.lock().unwrap().extend([(503, ""), (200, "whole"), (404, missing)]);
        let client = server.client();
        assert_eq!(client.get("bucket", "key").await.unwrap(), "whole");
        let error = client.get("bucket", "key").await.unwrap_err();
        let refusal = error.as_service_error().unwrap();
        assert!(refusal.is_no_such_key());
        assert_eq!(refusal.to_string(), "NoSuchKey: no key (HTTP status 404)");
        assert_eq!(server.requests.lock().unwrap().len(), 3);
    }

    #[test]
    fn the_bucket_is_in_the_host_only_if_its_name_cannot_change_the_host() {
        for (region, bucket, endpoint, path) in [
            ("eu-west-1", "b-1", "https://b-1.s3.eu-west-1.amazonaws.com", "/k"),
            ("cn-north-1", "b", "https://b.s3.cn-north-1.amazonaws.com.cn", "/k"),
            ("eu-west-1", "a.b", "https://s3.eu-west-1.amazonaws.com", "/a.b/k"),
            ("eu-west-1", "x.example/", "https://s3.eu-west-1.amazonaws.com", "/x.example//k"),
            ("eu-west-1", "x@y#", "https://s3.eu-west-1.amazonaws.com", "/x%40y%23/k"),
        ] {
            let config = config(region);
            let found = address(&config, config.region().unwrap(), bucket, "k");
            assert_eq!(found, (endpoint.to_owned(), path.to_owned()), "{bucket}");
        }
    }
}
