//! AWS, or the emulator of the local stack: clients of the bucket and the queues, and what they report.

use aws_config::SdkConfig;
use aws_sdk_s3::config::{Credentials, Region};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use millrace::aws::{self, ObjectClient};
use millrace::{Error, Kind, Result};

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
    /// For dead letters that are stored in the bucket.
    pub objects: ObjectClient,
}

impl Clients {
    fn new(config: &SdkConfig) -> Self {
        Clients {
            s3: aws::s3_client(config),
            sqs: aws::sqs_client(config),
            objects: ObjectClient::new(config),
        }
    }

    /// # Errors
    /// When nothing listens where the local AWS is said to be: at once, without the SDK's retries.
    pub(super) async fn of(local: Option<&LocalAws>) -> Result<Self> {
        let Some(local) = local else {
            return Ok(Clients::new(&aws::load_config().await));
        };
        let address = local.endpoint.split_once("://").map_or(local.endpoint.as_str(), |(_, rest)| rest);
        tokio::net::TcpStream::connect(address.trim_end_matches('/')).await.map_err(|error| {
            let advice = format!("nothing answers at {}: is `make dev` running?", local.endpoint);
            Error::new(Kind::Config, advice).with_source(error)
        })?;
        Ok(local.clients().await)
    }
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
        Clients::new(&self.config().await)
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
