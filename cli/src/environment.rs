//! The variables of a stack: written to `.millrace/env` by the local one, read from there or from the environment.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_config::SdkConfig;
use aws_sdk_s3::config::{Credentials, Region};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use millrace::dead_letter::DeadLetterReader;
use millrace::{Error, Kind, Result, aws};

use crate::checkout::Checkout;

const HEADER: &str = "\
# The running local stack. Load it into a shell:
#     set -a; . .millrace/env; set +a
# It goes away when the stack stops.
";

/// Everything that a client of a stack must know.
#[derive(Debug, Clone)]
pub struct Environment {
    pub database_url: String,
    pub bucket: String,
    pub upload_queue_url: String,
    pub dead_letter_queue_url: String,
    /// None for AWS itself: the SDK then finds region and credentials as it always does.
    pub local_aws: Option<LocalAws>,
    pub webhooks: Option<WebhookAddress>,
    /// The function that puts dead letters back, by its name or ARN.
    pub redrive_function: Option<String>,
    /// The secrets of the local stack's sources, by variable: `MILLRACE_SECRET_GITHUB`.
    pub secrets: Vec<(String, String)>,
}

/// Where webhooks are posted, a slash and the source's name after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookAddress {
    pub url: String,
    /// The Host header that the local AWS knows the API by.
    pub host: Option<String>,
}

/// An emulator of AWS on this machine. Its credentials are no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalAws {
    pub endpoint: String,
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: String,
}

/// Clients of a stack's bucket and queues.
#[derive(Debug, Clone)]
pub struct Clients {
    pub s3: aws_sdk_s3::Client,
    pub sqs: aws_sdk_sqs::Client,
}

impl LocalAws {
    pub fn at(endpoint: String) -> Self {
        LocalAws {
            endpoint,
            region: "us-east-1".to_owned(),
            access_key_id: "test".to_owned(),
            secret_access_key: "test".to_owned(),
        }
    }

    pub async fn clients(&self) -> Clients {
        let config = self.config().await;
        Clients { s3: aws::s3_client(&config), sqs: aws::sqs_client(&config) }
    }

    /// For the clients of its services.
    pub async fn config(&self) -> SdkConfig {
        let credentials = Credentials::new(
            self.access_key_id.as_str(),
            self.secret_access_key.as_str(),
            None,
            None,
            "millrace",
        );
        aws::loader()
            .endpoint_url(self.endpoint.as_str())
            .region(Region::new(self.region.clone()))
            .credentials_provider(credentials)
            .load()
            .await
    }
}

impl Environment {
    /// The environment's own variables if they name a bucket, else those of the running local stack. Never a mixture of
    /// the two: a bucket of one account with the region of another finds nothing. `DATABASE_URL` alone may be overridden.
    pub fn load(checkout: &Checkout) -> Result<Self> {
        let own = std::env::vars().collect::<BTreeMap<_, _>>();
        if own.contains_key("MILLRACE_BUCKET") {
            return Environment::from_variables(&own);
        }
        let mut variables = read(&checkout.environment())?.ok_or_else(|| {
            Error::new(
                Kind::Config,
                "no stack to talk to: start the local one with `make dev`, or set MILLRACE_BUCKET, \
                 MILLRACE_UPLOAD_QUEUE_URL, MILLRACE_DEAD_LETTER_QUEUE_URL and DATABASE_URL to one on AWS",
            )
        })?;
        if let Some(url) = own.get("DATABASE_URL") {
            variables.insert("DATABASE_URL".to_owned(), url.clone());
        }
        Environment::from_variables(&variables)
    }

    fn from_variables(variables: &BTreeMap<String, String>) -> Result<Self> {
        let mut missing = Vec::new();
        let mut required = |name: &'static str| {
            let value = variables.get(name).filter(|value| !value.is_empty()).cloned();
            if value.is_none() {
                missing.push(format!("{name}: missing"));
            }
            value.unwrap_or_default()
        };
        let environment = Environment {
            database_url: required("DATABASE_URL"),
            bucket: required("MILLRACE_BUCKET"),
            upload_queue_url: required("MILLRACE_UPLOAD_QUEUE_URL"),
            dead_letter_queue_url: required("MILLRACE_DEAD_LETTER_QUEUE_URL"),
            webhooks: variables.get("MILLRACE_WEBHOOK_URL").map(|url| WebhookAddress {
                url: url.clone(),
                host: variables.get("MILLRACE_WEBHOOK_HOST").cloned(),
            }),
            redrive_function: variables
                .get("MILLRACE_REDRIVE_FUNCTION")
                .filter(|name| !name.is_empty())
                .cloned(),
            secrets: variables
                .iter()
                .filter(|(name, _)| name.starts_with("MILLRACE_SECRET_"))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            local_aws: variables.get("AWS_ENDPOINT_URL").map(|endpoint| LocalAws {
                endpoint: endpoint.clone(),
                region: required("AWS_REGION"),
                access_key_id: required("AWS_ACCESS_KEY_ID"),
                secret_access_key: required("AWS_SECRET_ACCESS_KEY"),
            }),
        };
        if missing.is_empty() { Ok(environment) } else { Err(Error::new(Kind::Config, missing.join("; "))) }
    }

    /// # Errors
    /// When nothing listens where the local AWS is said to be: at once, without the SDK's retries.
    pub async fn clients(&self) -> Result<Clients> {
        if let Some(local) = &self.local_aws {
            let address = local.endpoint.split_once("://").map_or(local.endpoint.as_str(), |(_, rest)| rest);
            tokio::net::TcpStream::connect(address.trim_end_matches('/')).await.map_err(|error| {
                let advice = format!("nothing answers at {}: is `make dev` running?", local.endpoint);
                Error::new(Kind::Config, advice).with_source(error)
            })?;
        }
        Ok(match &self.local_aws {
            Some(local) => local.clients().await,
            None => {
                let config = aws::load_config().await;
                Clients { s3: aws::s3_client(&config), sqs: aws::sqs_client(&config) }
            }
        })
    }

    /// The receiving side of the dead-letter queue.
    pub fn reader(&self, clients: &Clients) -> DeadLetterReader {
        DeadLetterReader::new(clients.sqs.clone(), clients.s3.clone(), self.dead_letter_queue_url.clone())
    }

    /// For invocations that are waited for.
    pub async fn lambda(&self) -> aws_sdk_lambda::Client {
        aws::lambda_client(&match &self.local_aws {
            Some(local) => local.config().await,
            None => aws::load_config().await,
        })
    }

    /// Writes [`Environment::to_shell`] where only its owner reads it, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<()> {
        let failed = |error: std::io::Error| {
            Error::new(Kind::Config, format!("write {}", path.display())).with_source(error)
        };
        let beside = path.with_extension("new");
        // The mode is given at creation: there is no moment in which others could read the passwords.
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

    /// In shell syntax, for any AWS client, curl and psql.
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

/// What an AWS service, or the way to it, said; with the service's own code and message, which the SDK's text leaves out.
pub(crate) fn aws_failure<E, R>(doing: &str, error: &SdkError<E, R>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    let service = |error: &E| {
        format!("{}: {}", error.code().unwrap_or("no code"), error.message().unwrap_or("no message"))
    };
    let cause = match error {
        SdkError::ServiceError(answer) => service(answer.err()),
        other => DisplayErrorContext(other).to_string(),
    };
    Error::new(Kind::Transient, doing.to_owned()).with_source(cause)
}

/// Single variables, for commands that need no whole stack: the environment's own, else those of the running local stack.
#[derive(Debug)]
pub struct Variables {
    own: BTreeMap<String, String>,
    stack: BTreeMap<String, String>,
}

impl Variables {
    pub fn load(checkout: &Checkout) -> Result<Self> {
        // What is not Unicode is no setting of ours.
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

    /// The address of the webhooks, and the Host header that goes with it, if one does. Both from one place: the host of one
    /// stack is unknown at the address of another.
    pub fn webhooks(&self) -> Option<(&str, Option<&str>)> {
        [&self.own, &self.stack].into_iter().find_map(|variables| {
            let value = |name| variables.get(name).map(String::as_str).filter(|value| !value.is_empty());
            Some((value("MILLRACE_WEBHOOK_URL")?, value("MILLRACE_WEBHOOK_HOST")))
        })
    }
}

/// The database to work on: `DATABASE_URL`, else that of the running local stack.
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

/// The variables of an env file; none when there is no such file.
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

/// In single quotes, unless no shell could mistake it.
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
}
