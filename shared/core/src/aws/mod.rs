//! AWS clients, built once per process.
//!
//! `AWS_ENDPOINT_URL` points them at a local AWS; S3 then addresses buckets by path, since
//! `bucket.127.0.0.1` is not a host name.

mod environment;
mod objects;

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, SdkConfig};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

use crate::failpoint::{self, Moment};

pub use environment::function_config;
pub use objects::{ObjectClient, ObjectError, ObjectRefusal};

/// Reads region, credentials and endpoint from the environment and the profile files, as every AWS client does.
pub async fn load_config() -> SdkConfig {
    loader().load().await
}

/// The settings that Millrace fixes. The others are read from the environment unless they are set before `load`.
pub fn loader() -> ConfigLoader {
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client())
        .retry_config(retries())
        .timeout_config(timeouts())
}

fn http_client() -> SharedHttpClient {
    Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}

fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(4)
}

/// Well below every Lambda timeout: lost packets must cause an error before the timeout.
fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .read_timeout(Duration::from_secs(10))
        .build()
}

#[cfg(feature = "s3")]
pub fn s3_client(config: &SdkConfig) -> aws_sdk_s3::Client {
    let local = config.endpoint_url().is_some();
    aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::config::Builder::from(config)
            .force_path_style(local)
            // The checksum of a ranged read cannot be verified. TLS and the content length protect the bytes.
            .response_checksum_validation(aws_sdk_s3::config::ResponseChecksumValidation::WhenRequired)
            .request_checksum_calculation(aws_sdk_s3::config::RequestChecksumCalculation::WhenRequired)
            .interceptor(RequestFailpoints)
            .build(),
    )
}

#[cfg(feature = "sqs")]
pub fn sqs_client(config: &SdkConfig) -> aws_sdk_sqs::Client {
    aws_sdk_sqs::Client::from_conf(
        aws_sdk_sqs::config::Builder::from(config).interceptor(RequestFailpoints).build(),
    )
}

#[cfg(feature = "secretsmanager")]
pub fn secretsmanager_client(config: &SdkConfig) -> aws_sdk_secretsmanager::Client {
    aws_sdk_secretsmanager::Client::from_conf(
        aws_sdk_secretsmanager::config::Builder::from(config).interceptor(RequestFailpoints).build(),
    )
}

/// For synchronous invocations: a response may take as long as the function may run. A request that may have been sent is not
/// sent again, because the function may be processing it.
#[cfg(feature = "lambda")]
pub fn lambda_client(config: &SdkConfig) -> aws_sdk_lambda::Client {
    use aws_sdk_lambda::config::interceptors::InterceptorContext;
    use aws_sdk_lambda::config::retry::{ClassifyRetry, RetryAction};

    /// Retries only invocations that Lambda itself refused, for example by throttling.
    #[derive(Debug)]
    struct NeverSendTwice;

    impl ClassifyRetry for NeverSendTwice {
        fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
            let lost = context.output_or_error().is_some_and(|outcome| {
                outcome.is_err_and(|error| error.is_timeout_error() || error.is_connector_error())
            });
            if lost { RetryAction::RetryForbidden } else { RetryAction::NoActionIndicated }
        }

        fn name(&self) -> &'static str {
            "never send twice"
        }
    }

    aws_sdk_lambda::Client::from_conf(
        aws_sdk_lambda::config::Builder::from(config)
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(3))
                    .read_timeout(Duration::from_secs(15 * 60))
                    .build(),
            )
            .retry_classifier(NeverSendTwice)
            .interceptor(RequestFailpoints)
            .build(),
    )
}

/// A failpoint before and after each request, with the name of its operation.
#[derive(Debug)]
struct RequestFailpoints;

impl Intercept for RequestFailpoints {
    fn name(&self) -> &'static str {
        "failpoints"
    }

    // The operation is not known earlier.
    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        reach(config, Moment::Before);
        Ok(())
    }

    fn read_after_execution(
        &self,
        _: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        reach(config, Moment::After);
        Ok(())
    }
}

fn reach(config: &ConfigBag, moment: Moment) {
    failpoint::reach(config.load::<Metadata>().map_or("request", Metadata::name), moment);
}
