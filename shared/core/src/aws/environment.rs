//! The configuration of a function's AWS clients, from the variables that Lambda sets.
//!
//! The SDK's own chain also reads profile files, and gets credentials from STS, from EC2 and from programs. A function has none
//! of these, and would link STS and the readers for them.

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

use super::{http_client, retries, timeouts};

/// Reads region, credentials and endpoints from the environment of a Lambda function.
pub fn function_config() -> SdkConfig {
    let http_client = http_client();
    // Lambda sets the credentials themselves, or where to fetch them when an environment outlives them.
    let container = ProviderConfig::without_region().with_http_client(http_client.clone());
    let credentials =
        CredentialsProviderChain::first_try("Environment", EnvironmentVariableCredentialsProvider::new())
            .or_else("Container", EcsCredentialsProvider::builder().configure(&container).build());
    let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http_client)
        .retry_config(retries())
        .timeout_config(timeouts())
        .region(region.map(Region::new))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .service_config(Variables);
    config.set_endpoint_url(variable("AWS_ENDPOINT_URL"));
    config.set_use_fips(variable("AWS_USE_FIPS_ENDPOINT").map(|value| value == "true"));
    config.set_use_dual_stack(variable("AWS_USE_DUALSTACK_ENDPOINT").map(|value| value == "true"));
    config.build()
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The settings of single services, such as `AWS_ENDPOINT_URL_S3`.
#[derive(Debug)]
struct Variables;

impl LoadServiceConfig for Variables {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        variable(&of_service(&key)).or_else(|| variable(key.env()))
    }
}

fn of_service(key: &ServiceConfigKey<'_>) -> String {
    let service = key.service_id().to_uppercase().replace([' ', '-'], "_");
    format!("{}_{service}", key.env())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_of_one_service_has_its_name() {
        for (service, variable) in [
            ("S3", "AWS_ENDPOINT_URL_S3"),
            ("Lambda", "AWS_ENDPOINT_URL_LAMBDA"),
            ("Secrets Manager", "AWS_ENDPOINT_URL_SECRETS_MANAGER"),
        ] {
            let key = ServiceConfigKey::builder().service_id(service).env("AWS_ENDPOINT_URL").profile("");
            assert_eq!(of_service(&key.build().unwrap()), variable);
        }
    }
}
