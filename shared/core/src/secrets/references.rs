//! Fetches secrets from the environment, files and AWS Secrets Manager.

use std::path::Path;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::DisplayErrorContext;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use serde_json::Value;

use super::fetch::Fetch;
use crate::config::SecretReference;
use crate::config::environment::Secret;
use crate::{Code, Error, Kind, Result};

type VariableLookup = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Fetches each secret from the place that its reference names.
pub struct References {
    variables: VariableLookup,
    secrets_manager: Option<Client>,
}

impl References {
    /// Reads `env:` references through `variables`. Without a client, references to Secrets Manager are refused.
    pub fn new(
        variables: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
        secrets_manager: Option<Client>,
    ) -> Self {
        References { variables: Box::new(variables), secrets_manager }
    }

    /// Reads `env:` references from this process's environment.
    pub fn from_environment(secrets_manager: Option<Client>) -> Self {
        References::new(|name| std::env::var(name).ok(), secrets_manager)
    }
}

impl Fetch for References {
    async fn fetch(&self, reference: &SecretReference) -> Result<Secret> {
        match reference {
            SecretReference::Environment(name) => (self.variables)(name)
                .filter(|value| !value.is_empty())
                .map(Secret::from)
                .ok_or_else(|| missing("the variable is not set, or empty")),
            SecretReference::File(path) => read_file(path),
            SecretReference::SecretsManager { id, key } => {
                let client = self
                    .secrets_manager
                    .as_ref()
                    .ok_or_else(|| missing("there is no client for Secrets Manager here"))?;
                let text = ask(client, id).await?;
                member(text, key.as_deref())
            }
        }
    }
}

fn missing(why: &str) -> Error {
    Error::new(Kind::Config, why).with_code(Code::MissingSecret)
}

fn read_file(path: &Path) -> Result<Secret> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| missing("the file cannot be read").with_source(error))?;
    // Editors and `echo` end a file with a line end that is not part of the secret.
    let line = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text));
    match line.unwrap_or(&text) {
        "" => Err(missing("the file is empty")),
        secret => Ok(Secret::from(secret)),
    }
}

async fn ask(client: &Client, id: &str) -> Result<String> {
    let answer = client.get_secret_value().secret_id(id).send().await.map_err(|error| {
        // A missing secret or a missing permission needs a change. Any other error is retried.
        let service = error.as_service_error();
        let kind = match service.map(|error| (error.is_resource_not_found_exception(), error.meta().code())) {
            Some((true, _) | (_, Some("AccessDeniedException"))) => Kind::Config,
            _ => Kind::Transient,
        };
        let cause = match service {
            Some(error) => service_words(error),
            None => DisplayErrorContext(&error).to_string(),
        };
        Error::new(kind, "Secrets Manager did not give it").with_code(Code::MissingSecret).with_source(cause)
    })?;
    answer.secret_string.ok_or_else(|| missing("Secrets Manager has no text there, but a binary secret"))
}

/// The service's own code and message, which the SDK's text omits.
fn service_words(error: &GetSecretValueError) -> String {
    let meta = error.meta();
    format!("{}: {}", meta.code().unwrap_or("no code"), meta.message().unwrap_or("no message"))
}

/// Returns a member of a JSON object, or the whole text.
fn member(text: String, key: Option<&str>) -> Result<Secret> {
    let object = serde_json::from_str(&text).ok().filter(Value::is_object);
    let secret = match (key, object) {
        (None, None) => text,
        // The console stores every secret as a JSON object by default.
        (None, Some(_)) => {
            return Err(missing("a JSON object is kept there: say which member is meant, with #KEY"));
        }
        (Some(_), None) => return Err(missing("no JSON object is kept there, so that #KEY means nothing")),
        (Some(key), Some(object)) => match object.get(key) {
            Some(Value::String(secret)) => secret.clone(),
            _ => return Err(missing("the JSON object that is kept there has no text under this key")),
        },
    };
    if secret.is_empty() {
        return Err(missing("it is empty"));
    }
    Ok(Secret::from(secret))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::environment::ExposeSecret;

    #[test]
    fn a_member_of_an_object_is_taken_and_nothing_is_guessed() {
        let taken = |text: &str, key: Option<&str>| {
            member(text.to_owned(), key).map(|secret| secret.expose_secret().to_owned()).map_err(|error| {
                assert!(!error.chain().contains("canary"), "{error}");
            })
        };
        let object = r#"{"github": "canary", "empty": "", "number": 7}"#;
        assert_eq!(taken(object, Some("github")).as_deref(), Ok("canary"));
        assert_eq!(taken("canary", None).as_deref(), Ok("canary"));
        assert_eq!(taken("123456", None).as_deref(), Ok("123456"));
        for (text, key) in [
            (object, None),
            (object, Some("stripe")),
            (object, Some("empty")),
            (object, Some("number")),
            ("canary", Some("github")),
            ("", None),
        ] {
            assert!(taken(text, key).is_err(), "{key:?}");
        }
    }
}
