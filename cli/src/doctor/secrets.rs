//! The secrets of webhooks: whether each can be had, and is of use.

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

/// Every secret that `sources.toml` refers to, fetched as ingest-webhook does. Nothing of a secret is shown.
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
    // All at once: a few dozen sources would otherwise take as many seconds.
    let looked = join_all(sources.webhooks().map(|source| look(source, &client, &cache))).await;
    let findings = looked.into_iter().collect::<Result<Vec<_>>>()?.concat();
    let count = sources.webhooks().count() as u64;
    Ok(or_ok(findings, CHECK, format!("of {}, all there", counted(count, "webhook", "webhooks"))))
}

/// Where a source's secrets are kept, and whether they can be had from there.
async fn look(
    source: &WebhookSource,
    client: &Client,
    cache: &SecretCache<References>,
) -> Result<Vec<Finding>> {
    let mut findings = kept(source, client).await?;
    // What is said of where it is kept need not be said again of the secret.
    let is_there = findings.iter().all(|finding| finding.level < Level::Problem);
    if is_there && let Err(error) = cache.get(source).await {
        findings.push(match error.kind() {
            Kind::Config => Finding::problem(CHECK, error.chain(), set(source)),
            _ => Finding::unknown(CHECK, error.chain()),
        });
    }
    Ok(findings)
}

/// What Secrets Manager says of the places where the secrets of a source are kept.
async fn kept(source: &WebhookSource, client: &Client) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for reference in &source.secrets {
        let SecretReference::SecretsManager { id, .. } = reference else { continue };
        let described = match client.describe_secret().secret_id(id).send().await {
            Ok(described) => described,
            Err(error) => {
                let service = error.as_service_error();
                if service.is_some_and(|error| error.is_resource_not_found_exception()) {
                    let found = format!("source {}: the secret {reference} is not there", source.name);
                    findings.push(Finding::problem(CHECK, found, set(source)));
                    continue;
                }
                // Who may read a secret need not be allowed to describe it.
                if service.is_some_and(|error| error.meta().code() == Some("AccessDeniedException")) {
                    continue;
                }
                return Err(aws_failure("ask Secrets Manager about a secret", &error));
            }
        };
        if described.deleted_date.is_some() {
            let found = format!(
                "source {}: the secret {reference} is marked for deletion, and cannot be read",
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
                "source {}: the secret {reference} was to be rotated {} ago",
                source.name,
                age(overdue.as_secs_f64())
            );
            let action = format!("aws secretsmanager rotate-secret --secret-id {id}");
            findings.push(Finding::warning(CHECK, found, action));
        }
    }
    Ok(findings)
}

/// How the first secret of a source is set.
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
