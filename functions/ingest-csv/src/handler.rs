//! Handles an invocation, builds the response to Lambda, and maps each kind of error to a retry or a dead letter.

use std::time::{Duration, Instant};

use millrace::aws::{ObjectClient, function_config, s3_client, sqs_client};
use millrace::config::Sources;
use millrace::config::environment::ExposeSecret;
use millrace::database::{self, Connection};
use millrace::dead_letter::redrive::{RedriveRequest, RedriveResponse};
use millrace::dead_letter::{DeadLetter, DeadLetterQueue, Origin, Reason};
use millrace::metrics::{self, names};
use millrace::{Code, Error, Kind, Policy, Result, clock};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tracing::{Instrument, error, info, info_span, warn};

use crate::dead_letters::{after_attempts, message_dead_letter};
use crate::load::{LoadAttempt, Loader};
use crate::settings::Settings;
use crate::visibility::Visibility;
use millrace::notification::{ObjectCreated, S3Event, UploadEvent, UploadMessage, read_upload_event};
use millrace::origin::VersionedObject;

/// With less time than this left, a message is returned to its queue unprocessed.
const WORTH_BEGINNING: Duration = Duration::from_millis(300);
/// The response is sent at least this long before the deadline, or a fortieth of the time before it when that is less.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);

/// The response to Lambda.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Reply {
    /// The messages that stay in the queue, as a partial batch response.
    #[serde(rename_all = "camelCase")]
    Queue { batch_item_failures: Vec<ItemFailure> },
    /// The counts of the objects of an S3 event.
    Direct { loaded: u64, continued: u64 },
    /// The outcomes of redriven dead letters.
    Redrive(RedriveResponse),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemFailure {
    item_identifier: String,
}

/// The function's clients and configuration, built once.
pub struct IngestCsv {
    loader: Loader,
    sqs: aws_sdk_sqs::Client,
}

impl IngestCsv {
    /// Builds the clients. No connection is opened yet.
    ///
    /// # Errors
    /// [`Kind::Config`] when `DATABASE_URL` or `sources.toml` is wrong.
    pub async fn new(settings: Settings) -> Result<Self> {
        let sources = Sources::load(&settings.pipeline)?;
        let database = database::Settings::parse(settings.database_url.expose_secret())?
            .application_name("ingest-csv")
            .stall_timeout(settings.stall_timeout);
        let config = function_config();
        let (s3, sqs) = (s3_client(&config), sqs_client(&config));
        let dead_letter_queue =
            DeadLetterQueue::new(sqs.clone(), ObjectClient::new(&config), settings.dead_letters.clone());
        let connections =
            (0..settings.copy_connections).map(|_| Mutex::new(Connection::new(database.clone()))).collect();
        Ok(IngestCsv { loader: Loader { settings, sources, s3, dead_letter_queue, connections }, sqs })
    }

    /// Handles one invocation: messages of a queue, an S3 event, or dead letters to redrive.
    ///
    /// # Errors
    /// When an S3 event or a redrive request fails. The messages of a queue fail one by one.
    pub async fn handle(&self, event: Value, request_id: &str, deadline: Instant) -> Result<Reply> {
        if let Some(dead_letters) = RedriveRequest::read(&event) {
            return Ok(Reply::Redrive(self.redrive(dead_letters?, deadline).await));
        }
        match read_upload_event(&event) {
            UploadEvent::Queue(messages) => Ok(self.handle_queue(messages, request_id, deadline).await),
            UploadEvent::Direct(s3_event) => {
                in_time(deadline, self.handle_direct(s3_event, event, request_id, deadline)).await
            }
        }
    }

    /// Redrives dead letters of records.
    async fn redrive(&self, dead_letters: Vec<DeadLetter>, deadline: Instant) -> RedriveResponse {
        let started = Instant::now();
        // The reserve lets a commit in progress finish and the response be sent.
        let until = clock::before(deadline, Duration::from_secs(5), 10);
        let outcomes = self.loader.redrive(dead_letters, until).await;
        RedriveResponse::new(outcomes, started)
    }

    async fn handle_queue(&self, messages: Vec<UploadMessage>, request_id: &str, deadline: Instant) -> Reply {
        let settings = &self.loader.settings;
        let visibility = Visibility {
            sqs: &self.sqs,
            queue_url: &settings.upload_queue_url,
            hold: settings.message_visibility,
        };
        let mut batch_item_failures = Vec::new();
        for message in messages {
            let span = info_span!("message", request_id, message_id = message.id);
            let handled = in_time(deadline, self.handle_message(&message, deadline));
            // Boxed: the nested futures are deeper than the compiler lays out.
            let handled = visibility.hold(&message, Box::pin(handled)).instrument(span).await;
            if let Err(error) = handled {
                report(&error);
                metrics::failed(&error);
                visibility.retry_later(&message, error.kind().policy(), deadline).await;
                // SQS messages always have an id. An empty id in the response would fail the whole batch.
                if !message.id.is_empty() {
                    batch_item_failures.push(ItemFailure { item_identifier: message.id });
                }
            }
        }
        Reply::Queue { batch_item_failures }
    }

    async fn handle_message(&self, message: &UploadMessage, deadline: Instant) -> Result<()> {
        match message.s3_event() {
            S3Event::Nothing => info!("nothing to load in this message"),
            S3Event::ObjectCreated(created) => {
                for created in &created {
                    self.handle_object_created(created, deadline).await?;
                }
            }
            S3Event::Unreadable(why) => {
                let origin = Origin { message_id: Some(message.id.clone()), ..Origin::default() };
                let reason = Reason::new(Code::NotANotification, why);
                let body = Value::String(message.body.clone());
                self.send(message_dead_letter(&format!("message:{}", message.id), reason, origin, body))
                    .await?;
            }
        }
        Ok(())
    }

    async fn handle_direct(
        &self,
        s3_event: S3Event,
        event: Value,
        request_id: &str,
        deadline: Instant,
    ) -> Result<Reply> {
        let created = match s3_event {
            S3Event::Nothing => Vec::new(),
            S3Event::ObjectCreated(created) => created,
            S3Event::Unreadable(why) => {
                let reason = Reason::new(Code::NotANotification, why);
                self.send(message_dead_letter(
                    &format!("invocation:{request_id}"),
                    reason,
                    Origin::default(),
                    event,
                ))
                .await?;
                Vec::new()
            }
        };
        let mut loaded = 0;
        let mut continued = 0;
        for created in &created {
            match self.handle_object_created(created, deadline).await.inspect_err(report)? {
                LoadAttempt::Ended { .. } => loaded += 1,
                LoadAttempt::ToBeContinued => continued += 1,
            }
        }
        Ok(Reply::Direct { loaded, continued })
    }

    async fn handle_object_created(&self, created: &ObjectCreated, deadline: Instant) -> Result<LoadAttempt> {
        if deadline.saturating_duration_since(Instant::now()) < WORTH_BEGINNING {
            return Err(
                Error::new(Kind::Transient, "too little time is left to begin").with_code(Code::NoTime)
            );
        }
        match self.loader.load(created, deadline).await {
            Ok(LoadAttempt::ToBeContinued) => {
                self.continue_later(created).await?;
                Ok(LoadAttempt::ToBeContinued)
            }
            // The file itself is at fault, and no load of it is recorded yet.
            Err(error) if error.kind().policy() == Policy::DeadLetter => {
                warn!(
                    key = created.key,
                    code = error.code().name(),
                    error = error.chain(),
                    "file dead-lettered"
                );
                let origin = Origin {
                    bucket: Some(created.bucket.clone()),
                    key: Some(created.key.clone()),
                    version: created.version_id.clone(),
                    ..Origin::default()
                };
                let version = created.version_id.clone().or_else(|| created.sequencer.clone());
                let (bucket, key) = (created.bucket.clone(), created.key.clone());
                let name = VersionedObject { bucket, key, version: version.unwrap_or_default() }.origin();
                let reason = Reason::new(error.code(), error.chain());
                let payload = json!({ "notification": created.body });
                self.send(after_attempts(message_dead_letter(&name, reason, origin, payload), created))
                    .await?;
                metrics::add(names::FILES_FAILED, 1);
                Ok(LoadAttempt::Ended { already: false })
            }
            other => other,
        }
    }

    /// Sends the notification to the upload queue again. The next invocation continues at the first missing chunk.
    async fn continue_later(&self, created: &ObjectCreated) -> Result<()> {
        self.sqs
            .send_message()
            .queue_url(&self.loader.settings.upload_queue_url)
            .message_body(created.body.to_string())
            .send()
            .await
            .map_err(|error| {
                Error::new(Kind::Transient, "queue the continuation of a load")
                    .with_code(Code::ContinuationNotSent)
                    .with_source(error)
            })?;
        info!(key = created.key, "time is up; the rest of the file is queued");
        Ok(())
    }

    async fn send(&self, dead_letter: DeadLetter) -> Result<()> {
        self.loader.dead_letter_queue.send(&[dead_letter]).await
    }
}

/// Sends the response before the deadline even when the store, a queue or the database does not respond. Chunks that
/// are committed by then stay, and the next delivery continues after them.
async fn in_time<T>(deadline: Instant, work: impl Future<Output = Result<T>>) -> Result<T> {
    let answer_by = clock::before(deadline, ANSWER_MARGIN, 40);
    tokio::time::timeout_at(answer_by.into(), work).await.unwrap_or_else(|_| {
        Err(Error::new(
            Kind::Transient,
            "the store, a queue or the database did not respond before the deadline",
        )
        .with_code(Code::NoTime))
    })
}

fn report(failure: &Error) {
    match failure.kind().policy() {
        Policy::Stop => {
            error!(code = failure.code().name(), error = failure.chain(), "not loaded: an operator must act")
        }
        _ => warn!(
            code = failure.code().name(),
            error = failure.chain(),
            "not loaded; the queue will deliver it again"
        ),
    }
}
