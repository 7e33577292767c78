//! Reads the webhooks of `sources.toml` and their secrets.

use std::io::Read;
use std::path::{Path, PathBuf};

use millrace::config::environment::Secret;
use millrace::config::{SecretReference, Sources, WebhookSource};
use millrace::secrets::{Fetch, References};
use millrace::{Error, Kind, Result, aws};

use crate::checkout::Checkout;
use crate::environment::{Environment, Variables};

/// The webhook of `name`, in `pipeline/` of the checkout or in the folder `MILLRACE_PIPELINE`. A secret in the environment or in
/// `.millrace/env` takes precedence over the reference in `sources.toml`.
pub fn find_webhook(name: &str, checkout: &Checkout, variables: &Variables) -> Result<WebhookSource> {
    let mut source = load_sources(checkout, variables)?.find_webhook(name)?.clone();
    let variable = secret_variable(name);
    if variables.get(&variable).is_some_and(|secret| !secret.is_empty()) {
        source.secrets = vec![SecretReference::Environment(variable)];
    }
    Ok(source)
}

/// The declared sources, in the checkout's `pipeline/` or where `MILLRACE_PIPELINE` says.
pub fn load_sources(checkout: &Checkout, variables: &Variables) -> Result<Sources> {
    let folder = variables.get("MILLRACE_PIPELINE").map_or_else(|| checkout.pipeline(), PathBuf::from);
    Sources::load(&folder)
}

/// The variable of `.millrace/env` that holds the secret of a source: `MILLRACE_SECRET_GITHUB`.
pub fn secret_variable(source: &str) -> String {
    let name =
        source.to_ascii_uppercase().replace(|dead_letter: char| !dead_letter.is_ascii_alphanumeric(), "_");
    format!("MILLRACE_SECRET_{name}")
}

/// Fetches the secrets of `source`. Connects to AWS only if one of them is in Secrets Manager.
pub async fn secrets(
    source: &WebhookSource,
    checkout: &Checkout,
    variables: Variables,
) -> Result<References> {
    let kept_in_aws =
        |reference: &SecretReference| matches!(reference, SecretReference::SecretsManager { .. });
    let client = if source.secrets.iter().any(kept_in_aws) {
        let config = match Environment::load(checkout).ok().and_then(|environment| environment.local_aws) {
            Some(local) => local.config().await,
            None if has_credentials(&variables) => aws::load_config().await,
            // The SDK would try the instance metadata service for many seconds, and then return an unclear error.
            None => {
                return Err(Error::new(
                    Kind::Config,
                    format!(
                        "the secret of {} is in AWS Secrets Manager: start the local stack with `make dev`, set {}, or configure AWS credentials",
                        source.name,
                        secret_variable(&source.name)
                    ),
                ));
            }
        };
        Some(aws::secretsmanager_client(&config))
    } else {
        None
    };
    Ok(References::new(move |name| variables.get(name).map(str::to_owned), client))
}

/// The secret with which to sign. The first of two is the newer one.
pub async fn signing_secret(
    source: &WebhookSource,
    checkout: &Checkout,
    variables: Variables,
) -> Result<Secret> {
    let store = secrets(source, checkout, variables).await?;
    let reference =
        source.secrets.first().ok_or_else(|| Error::new(Kind::Bug, "a source without secrets"))?;
    store.fetch(reference).await.map_err(|error| {
        let error = unusable_secret(source, error);
        match reference {
            SecretReference::SecretsManager { .. } if uses_local_aws(checkout) => {
                let advice = "the local stack creates the secrets of sources.toml when it starts: stop it, and run `make dev` again";
                Error::new(error.kind(), advice).with_source(error)
            }
            _ => error,
        }
    })
}

fn uses_local_aws(checkout: &Checkout) -> bool {
    Environment::load(checkout).is_ok_and(|environment| environment.local_aws.is_some())
}

/// Adds the source and the reference to `error`.
pub fn unusable_secret(source: &WebhookSource, error: Error) -> Error {
    let reference = source.secrets.first().map(ToString::to_string).unwrap_or_default();
    Error::new(error.kind(), format!("source {}: the secret {reference}", source.name)).with_source(error)
}

fn has_credentials(variables: &Variables) -> bool {
    const PLACES: [&str; 4] = [
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    ];
    PLACES.iter().any(|name| variables.get(name).is_some())
        || variables.get("HOME").is_some_and(|home| Path::new(home).join(".aws").is_dir())
}

/// Reads a body from a file, or from standard input for `-`.
pub fn read_body(file: &Path) -> Result<Vec<u8>> {
    let read = match file.to_str() {
        Some("-") => {
            let mut body = Vec::new();
            std::io::stdin().lock().read_to_end(&mut body).map(|_| body)
        }
        _ => std::fs::read(file),
    };
    read.map_err(|error| Error::new(Kind::Config, format!("read {}", file.display())).with_source(error))
}
