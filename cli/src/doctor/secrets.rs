//! Checks that the secrets of webhooks exist and are valid.

use std::time::{Duration, SystemTime};

use aws_sdk_secretsmanager::Client;
use futures_util::future::join_all;
use millrace::config::{SecretReference, Sources, WebhookSource};
use millrace::secrets::{References, SecretCache};
use millrace::{Kind, Result, aws};

use super::finding::{Finding, Level, or_ok};
use crate::environment::{Environment, Variables, aws_failure};
use crate::terminal::{age, counted};

const CHECK: &str = "secrets";

/// Fetches every secret in `sources.toml` like ingest-webhook. Findings never contain a secret.
pub async fn check(
    sources: &Sources,
    variables: Variables,
    environment: &Environment,
) -> Result<Vec<Finding>> {
    let config = match &environment.local_aws {
        Some(local) => local.config().await,
        None => aws::load_config().await,
    };
    let client = aws::secretsmanager_client(&config);
    let references =
        References::new(move |name| variables.get(name).map(str::to_owned), Some(client.clone()));
    let cache = SecretCache::new(references);
    // Concurrently, because each source takes up to a second.
    let looked = join_all(sources.webhooks().map(|source| look(source, &client, &cache))).await;
    let findings = looked.into_iter().collect::<Result<Vec<_>>>()?.concat();
    let count = sources.webhooks().count() as u64;
    Ok(or_ok(findings, CHECK, format!("of {}, all available", counted(count, "webhook", "webhooks"))))
}

/// Checks the references of a source, and fetches its secrets.
async fn look(
    source: &WebhookSource,
    client: &Client,
    cache: &SecretCache<References>,
) -> Result<Vec<Finding>> {
    let mut findings = kept(source, client).await?;
    // A finding about the reference makes one about the secret redundant.
    let can_be_fetched = findings.iter().all(|finding| finding.level < Level::Problem);
    if can_be_fetched && let Err(error) = cache.get(source).await {
        findings.push(match error.kind() {
            Kind::Config => Finding::problem(CHECK, error.chain(), set(source)),
            _ => Finding::unknown(CHECK, error.chain()),
        });
    }
    Ok(findings)
}

/// Checks the state of a source's secrets in Secrets Manager.
async fn kept(source: &WebhookSource, client: &Client) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for reference in &source.secrets {
        let SecretReference::SecretsManager { id, .. } = reference else { continue };
        let described = match client.describe_secret().secret_id(id).send().await {
            Ok(described) => described,
            Err(error) => {
                let service = error.as_service_error();
                if service.is_some_and(|error| error.is_resource_not_found_exception()) {
                    let found = format!("source {}: the secret {reference} does not exist", source.name);
                    findings.push(Finding::problem(CHECK, found, set(source)));
                    continue;
                }
                // A role that can read a secret may not be able to describe it.
                if service.is_some_and(|error| error.meta().code() == Some("AccessDeniedException")) {
                    continue;
                }
                return Err(aws_failure("describe a secret in Secrets Manager", &error));
            }
        };
        if described.deleted_date.is_some() {
            let found = format!(
                "source {}: the secret {reference} is scheduled for deletion and cannot be read",
                source.name
            );
            let action = format!("aws secretsmanager restore-secret --secret-id {id}");
            findings.push(Finding::problem(CHECK, found, action));
            continue;
        }
        let rotation = described.next_rotation_date.and_then(|at| SystemTime::try_from(at).ok());
        if let Some(overdue) =
            rotation.and_then(|at| at.elapsed().ok()).filter(|late| *late > Duration::from_secs(86_400))
        {
            let found = format!(
                "source {}: the rotation of the secret {reference} is overdue by {}",
                source.name,
                age(overdue.as_secs_f64())
            );
            let action = format!("aws secretsmanager rotate-secret --secret-id {id}");
            findings.push(Finding::warning(CHECK, found, action));
        }
    }
    Ok(findings)
}

/// The command that sets the first secret of a source.
fn set(source: &WebhookSource) -> String {
    match source.secrets.first() {
        Some(SecretReference::SecretsManager { id, .. }) => {
            format!(
                "aws secretsmanager put-secret-value --secret-id {id} --secret-string \"$SECRET\"  # or create-secret --name {id}"
            )
        }
        Some(SecretReference::Environment(name)) => {
            format!("export {name}=\"$SECRET\"  # for the function: its variables in infra/template.yaml")
        }
        Some(SecretReference::File(path)) => format!("printf %s \"$SECRET\" > {}", path.display()),
        None => "\"${EDITOR:-vi}\" pipeline/sources.toml".to_owned(),
    }
}
