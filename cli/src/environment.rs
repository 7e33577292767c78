//! The variables of a stack. The local stack writes them to `.millrace/env`. They are read from this file or the environment.

mod aws;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use millrace::dead_letter::DeadLetterReader;
use millrace::{Error, Kind, Result};

use crate::checkout::Checkout;
pub(crate) use aws::aws_failure;
pub use aws::{Clients, LocalAws};

const HEADER: &str = "\
# The running local stack. Load it into a shell:
#     set -a; . .millrace/env; set +a
# It goes away when the stack stops.
";

/// The variables of a stack.
#[derive(Debug, Clone)]
pub struct Environment {
    pub database_url: String,
    pub bucket: String,
    pub upload_queue_url: String,
    pub dead_letter_queue_url: String,
    /// `None` for AWS. The SDK then reads the region and credentials from its usual sources.
    pub local_aws: Option<LocalAws>,
    pub webhooks: Option<WebhookAddress>,
    /// The name or ARN of the function redrive.
    pub redrive_function: Option<String>,
    /// The secrets of the local stack's sources, by variable: `MILLRACE_SECRET_GITHUB`.
    pub secrets: Vec<(String, String)>,
}

/// What a client of the dead-letter queue must know: no database, and no other queue.
#[derive(Debug, Clone)]
pub struct DeadLetterEnvironment {
    pub bucket: String,
    pub queue_url: String,
    /// As in [`Environment`].
    pub redrive_function: Option<String>,
    local_aws: Option<LocalAws>,
}

/// Where webhooks are posted, a slash and the source's name after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookAddress {
    pub url: String,
    /// The Host header by which the local AWS identifies the API.
    pub host: Option<String>,
}

impl Environment {
    pub fn load(checkout: &Checkout) -> Result<Self> {
        let variables = stack_variables(
            checkout,
            "MILLRACE_BUCKET, MILLRACE_UPLOAD_QUEUE_URL, MILLRACE_DEAD_LETTER_QUEUE_URL and DATABASE_URL",
        )?;
        Environment::from_variables(&variables)
    }

    fn from_variables(variables: &BTreeMap<String, String>) -> Result<Self> {
        let mut required = Required::of(variables);
        let environment = Environment {
            database_url: required.get("DATABASE_URL"),
            bucket: required.get("MILLRACE_BUCKET"),
            upload_queue_url: required.get("MILLRACE_UPLOAD_QUEUE_URL"),
            dead_letter_queue_url: required.get("MILLRACE_DEAD_LETTER_QUEUE_URL"),
            webhooks: variables.get("MILLRACE_WEBHOOK_URL").map(|url| WebhookAddress {
                url: url.clone(),
                host: variables.get("MILLRACE_WEBHOOK_HOST").cloned(),
            }),
            redrive_function: redrive_function(variables),
            secrets: variables
                .iter()
                .filter(|(name, _)| name.starts_with("MILLRACE_SECRET_"))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            local_aws: required.local_aws(),
        };
        required.or_missing(environment)
    }

    pub async fn clients(&self) -> Result<Clients> {
        Clients::of(self.local_aws.as_ref()).await
    }

    /// Writes [`Environment::to_shell`] to a file atomically. Only its owner can read it.
    pub fn write(&self, path: &Path) -> Result<()> {
        let failed = |error: std::io::Error| {
            Error::new(Kind::Config, format!("write {}", path.display())).with_source(error)
        };
        let beside = path.with_extension("new");
        // Set the mode at creation, so that other users can never read the passwords.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)
            .and_then(|mut file| file.write_all(self.to_shell().as_bytes()))
            .and_then(|()| fs::rename(&beside, path))
            .map_err(failed)
    }

    /// The variables in shell syntax, for any AWS client, curl and psql.
    pub fn to_shell(&self) -> String {
        let mut variables = vec![("DATABASE_URL", self.database_url.as_str())];
        if let Some(local) = &self.local_aws {
            variables.extend([
                ("AWS_ENDPOINT_URL", local.endpoint.as_str()),
                ("AWS_REGION", &local.region),
                ("AWS_DEFAULT_REGION", &local.region),
                ("AWS_ACCESS_KEY_ID", &local.access_key_id),
                ("AWS_SECRET_ACCESS_KEY", &local.secret_access_key),
            ]);
        }
        variables.extend([
            ("MILLRACE_BUCKET", self.bucket.as_str()),
            ("MILLRACE_UPLOAD_QUEUE_URL", &self.upload_queue_url),
            ("MILLRACE_DEAD_LETTER_QUEUE_URL", &self.dead_letter_queue_url),
        ]);
        if let Some(webhooks) = &self.webhooks {
            variables.push(("MILLRACE_WEBHOOK_URL", &webhooks.url));
            variables.extend(webhooks.host.as_deref().map(|host| ("MILLRACE_WEBHOOK_HOST", host)));
        }
        variables.extend(self.redrive_function.as_deref().map(|name| ("MILLRACE_REDRIVE_FUNCTION", name)));
        variables.extend(self.secrets.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let lines = variables.iter().map(|(name, value)| format!("{name}={}\n", quote(value)));
        HEADER.to_owned() + &lines.collect::<String>()
    }
}

impl DeadLetterEnvironment {
    pub fn load(checkout: &Checkout) -> Result<Self> {
        let variables = stack_variables(checkout, "MILLRACE_BUCKET and MILLRACE_DEAD_LETTER_QUEUE_URL")?;
        DeadLetterEnvironment::from_variables(&variables)
    }

    fn from_variables(variables: &BTreeMap<String, String>) -> Result<Self> {
        let mut required = Required::of(variables);
        let environment = DeadLetterEnvironment {
            bucket: required.get("MILLRACE_BUCKET"),
            queue_url: required.get("MILLRACE_DEAD_LETTER_QUEUE_URL"),
            local_aws: required.local_aws(),
            redrive_function: redrive_function(variables),
        };
        required.or_missing(environment)
    }

    pub async fn clients(&self) -> Result<Clients> {
        Clients::of(self.local_aws.as_ref()).await
    }

    /// The receiving side of the dead-letter queue.
    pub fn reader(&self, clients: &Clients) -> DeadLetterReader {
        DeadLetterReader::new(clients.sqs.clone(), clients.objects.clone(), self.queue_url.clone())
    }

    /// For invocations that are waited for.
    pub async fn lambda(&self) -> aws_sdk_lambda::Client {
        millrace::aws::lambda_client(&match &self.local_aws {
            Some(local) => local.config().await,
            None => millrace::aws::load_config().await,
        })
    }
}

/// The variables of a stack: the environment's own if they name a bucket, else those of the running local stack. Never a
/// mixture of the two: a bucket of one account with the region of another finds nothing. `DATABASE_URL` alone may be
/// overridden. `needed` are the names for the error message.
fn stack_variables(checkout: &Checkout, needed: &str) -> Result<BTreeMap<String, String>> {
    let own = std::env::vars().collect::<BTreeMap<_, _>>();
    if own.contains_key("MILLRACE_BUCKET") {
        return Ok(own);
    }
    let mut variables = read(&checkout.environment())?.ok_or_else(|| {
        let message = format!(
            "no stack to talk to: start the local one with `make dev`, or set {needed} to one on AWS"
        );
        Error::new(Kind::Config, message)
    })?;
    if let Some(url) = own.get("DATABASE_URL") {
        variables.insert("DATABASE_URL".to_owned(), url.clone());
    }
    Ok(variables)
}

/// Reads variables, and remembers the names of those that are missing.
struct Required<'a> {
    variables: &'a BTreeMap<String, String>,
    missing: Vec<String>,
}

impl<'a> Required<'a> {
    fn of(variables: &'a BTreeMap<String, String>) -> Self {
        Required { variables, missing: Vec::new() }
    }

    fn get(&mut self, name: &str) -> String {
        let value = self.variables.get(name).filter(|value| !value.is_empty()).cloned();
        if value.is_none() {
            self.missing.push(format!("{name}: missing"));
        }
        value.unwrap_or_default()
    }

    fn local_aws(&mut self) -> Option<LocalAws> {
        self.variables.get("AWS_ENDPOINT_URL").map(|endpoint| LocalAws {
            endpoint: endpoint.clone(),
            region: self.get("AWS_REGION"),
            access_key_id: self.get("AWS_ACCESS_KEY_ID"),
            secret_access_key: self.get("AWS_SECRET_ACCESS_KEY"),
        })
    }

    /// `value`, or an error with the name of every missing variable.
    fn or_missing<T>(self, value: T) -> Result<T> {
        if self.missing.is_empty() {
            Ok(value)
        } else {
            Err(Error::new(Kind::Config, self.missing.join("; ")))
        }
    }
}

fn redrive_function(variables: &BTreeMap<String, String>) -> Option<String> {
    variables.get("MILLRACE_REDRIVE_FUNCTION").filter(|name| !name.is_empty()).cloned()
}

/// Single variables, for commands that do not need all variables: those of the environment, otherwise those of the local stack.
#[derive(Debug)]
pub struct Variables {
    own: BTreeMap<String, String>,
    stack: BTreeMap<String, String>,
}

impl Variables {
    pub fn load(checkout: &Checkout) -> Result<Self> {
        // Values that are not Unicode are not settings of Millrace.
        let own = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Ok(Variables { own: own.collect(), stack: read(&checkout.environment())?.unwrap_or_default() })
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let set = |variables: &'_ BTreeMap<String, String>| {
            variables.get(name).is_some_and(|value| !value.is_empty())
        };
        let from = if set(&self.own) { &self.own } else { &self.stack };
        from.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The base URL of the webhooks and its Host header, if there is one. Both are read from the same source, because they belong to
    /// one stack.
    pub fn webhooks(&self) -> Option<(&str, Option<&str>)> {
        [&self.own, &self.stack].into_iter().find_map(|variables| {
            let value = |name| variables.get(name).map(String::as_str).filter(|value| !value.is_empty());
            Some((value("MILLRACE_WEBHOOK_URL")?, value("MILLRACE_WEBHOOK_HOST")))
        })
    }
}

/// The connection string: `DATABASE_URL`, otherwise that of the running local stack.
pub fn database_url(checkout: &Checkout) -> Result<String> {
    if let Some(url) = std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty()) {
        return Ok(url);
    }
    read(&checkout.environment())?.and_then(|variables| variables.get("DATABASE_URL").cloned()).ok_or_else(|| {
        Error::new(
            Kind::Config,
            "DATABASE_URL: missing; set it (postgresql://user:password@host:5432/database) or start the local stack with \
             `make dev`",
        )
    })
}

/// The variables of an env file; none if the file does not exist.
fn read(path: &Path) -> Result<Option<BTreeMap<String, String>>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(parse(&text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::new(Kind::Config, format!("read {}", path.display())).with_source(error)),
    }
}

/// The inverse of [`Environment::to_shell`].
fn parse(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| {
            let plain = value
                .strip_prefix('\'')
                .and_then(|value| value.strip_suffix('\''))
                .map_or_else(|| value.to_owned(), |quoted| quoted.replace(r"'\''", "'"));
            (name.to_owned(), plain)
        })
        .collect()
}

/// Quotes a value with single quotes, unless every character is safe in a shell.
fn quote(value: &str) -> String {
    let safe = |character: char| character.is_ascii_alphanumeric() || "-_./:@%+,=?".contains(character);
    if !value.is_empty() && value.chars().all(safe) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Environment {
        Environment {
            database_url: "postgresql://postgres:it's@127.0.0.1:5432/millrace?sslmode=disable&a=$b"
                .to_owned(),
            bucket: "millrace-000000000000-us-east-1".to_owned(),
            upload_queue_url: "http://127.0.0.1:4566/000000000000/millrace-uploads".to_owned(),
            dead_letter_queue_url: "http://127.0.0.1:4566/000000000000/millrace-dead-letters".to_owned(),
            local_aws: Some(LocalAws::at("http://127.0.0.1:4566".to_owned())),
            webhooks: Some(WebhookAddress {
                url: "http://127.0.0.1:4566/webhooks".to_owned(),
                host: Some("a1b2c3.execute-api.localhost:4566".to_owned()),
            }),
            redrive_function: Some("millrace-redrive".to_owned()),
            secrets: vec![("MILLRACE_SECRET_BASIC".to_owned(), "user:it's".to_owned())],
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let environment = sample();
        let read = Environment::from_variables(&parse(&environment.to_shell())).unwrap();
        assert_eq!(read.database_url, environment.database_url);
        assert_eq!(read.dead_letter_queue_url, environment.dead_letter_queue_url);
        assert_eq!(read.local_aws, environment.local_aws);
        assert_eq!((read.webhooks, read.secrets), (environment.webhooks, environment.secrets));
        assert_eq!(read.redrive_function, environment.redrive_function);
    }

    #[test]
    fn a_shell_reads_it_too() {
        let script = format!("{}printf %s \"$DATABASE_URL\"", sample().to_shell());
        let output = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), sample().database_url);
    }

    #[test]
    fn every_missing_variable_is_named_at_once() {
        let variables = BTreeMap::from([("MILLRACE_BUCKET".to_owned(), "b".to_owned())]);
        let error = Environment::from_variables(&variables).unwrap_err();
        for name in ["DATABASE_URL", "MILLRACE_UPLOAD_QUEUE_URL", "MILLRACE_DEAD_LETTER_QUEUE_URL"] {
            assert!(error.message().contains(name), "{error}");
        }
    }

    #[test]
    fn dead_letters_need_neither_a_database_nor_the_upload_queue() {
        let mut variables = parse(&sample().to_shell());
        variables.remove("DATABASE_URL");
        variables.remove("MILLRACE_UPLOAD_QUEUE_URL");
        let environment = DeadLetterEnvironment::from_variables(&variables).unwrap();
        assert_eq!(environment.queue_url, sample().dead_letter_queue_url);
        variables.remove("MILLRACE_DEAD_LETTER_QUEUE_URL");
        let error = DeadLetterEnvironment::from_variables(&variables).unwrap_err();
        assert_eq!(error.message(), "MILLRACE_DEAD_LETTER_QUEUE_URL: missing");
    }
}
