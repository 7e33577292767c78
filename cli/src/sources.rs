//! What `sources.toml` says of a webhook, with its secrets.

use std::io::Read;
use std::path::{Path, PathBuf};

use ingest_webhook::secrets::References;
use millrace::config::{SecretReference, Sources, WebhookSource};
use millrace::{Error, Kind, Result, aws};

use crate::checkout::Checkout;
use crate::environment::{Environment, Variables};

/// The webhook of `name`, in the checkout's `pipeline/` or where `MILLRACE_PIPELINE` says.
pub fn find_webhook(name: &str, checkout: &Checkout, variables: &Variables) -> Result<WebhookSource> {
    let folder = variables.get("MILLRACE_PIPELINE").map_or_else(|| checkout.pipeline(), PathBuf::from);
    Sources::load(&folder)?.find_webhook(name).cloned()
}

/// Fetches what `source` refers to. AWS is only looked for when a secret is kept there.
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
            None => aws::load_config().await,
        };
        Some(aws::secretsmanager_client(&config))
    } else {
        None
    };
    Ok(References::new(move |name| variables.get(name).map(str::to_owned), client))
}

/// A body, from a file or, for `-`, from standard input.
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
