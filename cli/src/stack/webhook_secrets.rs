//! Creates the secrets of the sample sources once, and stores them under the references in `sources.toml`.

use std::collections::BTreeMap;
use std::path::Path;

use aws_sdk_secretsmanager::Client;
use millrace::config::{SecretReference, Sources, WebhookSource};
use millrace::{Error, Kind, Result};
use millrace_webhook::Preset;
use serde_json::Value;

use super::secret;
use crate::environment::aws_failure;
use crate::sources::secret_variable;

/// Creates every secret in Secrets Manager to which a source refers. Returns the variables for `.millrace/env`, one for each source
/// whose secret is known.
///
/// `own` returns a variable of the user's environment, which takes precedence over a new secret.
pub async fn provide(
    sources: &Sources,
    kept: &Path,
    client: &Client,
    own: impl Fn(&str) -> Option<String>,
) -> Result<Vec<(String, String)>> {
    std::fs::create_dir_all(kept)
        .map_err(|error| Error::new(Kind::Config, format!("create {}", kept.display())).with_source(error))?;
    let mut variables = Vec::new();
    // Combine several keys of one secret, and one secret of several sources.
    let mut values: BTreeMap<&str, SecretValue> = BTreeMap::new();
    for source in sources.webhooks() {
        let variable = secret_variable(&source.name);
        for (index, reference) in source.secrets.iter().enumerate() {
            let SecretReference::SecretsManager { id, key } = reference else { continue };
            let value = match own(&variable).filter(|_| index == 0) {
                Some(value) => value,
                None => suited(source, &secret::kept_in(&kept.join(file_name(id, key.as_deref())))?),
            };
            if index == 0 {
                variables.push((variable.clone(), value.clone()));
            }
            match key {
                None => values.entry(id).or_default().whole = Some(value),
                Some(key) => {
                    values.entry(id).or_default().members.insert(key.clone(), Value::from(value));
                }
            }
        }
    }
    for (id, kept) in values {
        let text = kept.whole.unwrap_or_else(|| Value::Object(kept.members).to_string());
        put(client, id, &text).await?;
    }
    Ok(variables)
}

#[derive(Default)]
struct SecretValue {
    whole: Option<String>,
    members: serde_json::Map<String, Value>,
}

fn file_name(id: &str, key: Option<&str>) -> String {
    let plain = |text: &str| text.replace(|dead_letter: char| !dead_letter.is_ascii_alphanumeric(), "-");
    match key {
        None => plain(id),
        Some(key) => format!("{}.{}", plain(id), plain(key)),
    }
}

/// The secret in the format of the preset. `digits` are hexadecimal, and therefore also valid base64.
fn suited(source: &WebhookSource, digits: &str) -> String {
    match source.scheme.preset() {
        Preset::Standard | Preset::Stripe => format!("whsec_{digits}"),
        Preset::Basic => format!("millrace:{digits}"),
        _ => digits.to_owned(),
    }
}

async fn put(client: &Client, id: &str, text: &str) -> Result<()> {
    let made = client.create_secret().name(id).secret_string(text).send().await;
    let Err(error) = made else { return Ok(()) };
    if !error.as_service_error().is_some_and(|error| error.is_resource_exists_exception()) {
        return Err(aws_failure("create a secret in the local AWS", &error));
    }
    client
        .put_secret_value()
        .secret_id(id)
        .secret_string(text)
        .send()
        .await
        .map_err(|error| aws_failure("update a secret in the local AWS", &error))?;
    Ok(())
}

/// Sources whose secrets the deployed function cannot read, because their variables are not in the template.
pub fn unseen(sources: &Sources) -> Result<()> {
    let unseen: Vec<&str> = sources
        .webhooks()
        .filter(|source| {
            source.secrets.iter().any(|reference| matches!(reference, SecretReference::Environment(_)))
        })
        .map(|source| source.name.as_str())
        .collect();
    if unseen.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Config,
        format!(
            "no delivery of {} can be verified: a deployed function only has the variables of infra/template.yaml; refer to the secret as secretsmanager:millrace/<name>, which the local stack creates",
            unseen.join(", ")
        ),
    ))
}
