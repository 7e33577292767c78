//! Handles an invocation, from the request to the response.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::HeaderMap;
use millrace::aws::{ObjectClient, function_config, secretsmanager_client, sqs_client};
use millrace::config::environment::ExposeSecret;
use millrace::config::{Sources, WebhookSource};
use millrace::database::{self, Connection};
use millrace::dead_letter::redrive;
use millrace::dead_letter::{DeadLetter, DeadLetterQueue, Reason};
use millrace::ledger::Repair;
use millrace::{Code, Error, Kind, Result, clock, metrics};
use millrace_webhook::Preset;
use serde::Serialize;
use tokio::time::timeout_at;
use tracing::{Instrument, error, info, info_span, warn};

use crate::dead_letters::DeliveryContext;
use crate::problem::{Challenge, Problem, ProblemKind};
use crate::request::{HttpEvent, Request, RequestRefusal};
use crate::response::HttpResponse;
use crate::settings::Settings;
use crate::store::{self, Delivery, DeliveryEvent, NotStored, Store, Stored, Writer};
use millrace::secrets::authenticate;
use millrace::secrets::{References, SecretCache, Timing};
use millrace_webhook::content::{self, Parsed};
use millrace_webhook::verify::Verification;

/// The time before the invocation's deadline that is kept for the dead-letter queue, or a third of the time when that
/// is less.
const QUEUE_MARGIN: Duration = Duration::from_secs(8);
/// The response is sent at least this long before the deadline, or a tenth of the time before it when that is less.
const ANSWER_MARGIN: Duration = Duration::from_millis(500);

/// The response to Lambda.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Reply {
    Http(HttpResponse),
    /// The outcomes of redriven dead letters.
    Redrive(redrive::RedriveResponse),
}

/// The function's clients and configuration, built once.
pub struct IngestWebhook {
    settings: Settings,
    pub(crate) sources: Sources,
    secrets: SecretCache<References>,
    store: Store,
    pub(crate) dead_letter_queue: DeadLetterQueue,
}

impl IngestWebhook {
    /// Builds the clients. No connection is opened yet. The [`Writer`] must run concurrently with every request.
    ///
    /// # Errors
    /// [`Kind::Config`] when `DATABASE_URL` or `sources.toml` is wrong.
    pub async fn new(settings: Settings) -> Result<(Self, Writer)> {
        let sources = Sources::load(&settings.pipeline)?;
        let database = database::Settings::parse(settings.database_url.expose_secret())?
            .application_name("ingest-webhook")
            .stall_timeout(settings.database_timeout);
        let config = function_config();
        let dead_letter_queue = DeadLetterQueue::new(
            sqs_client(&config),
            ObjectClient::new(&config),
            settings.dead_letters.clone(),
        );
        let secrets = SecretCache::with_timing(
            References::from_environment(Some(secretsmanager_client(&config))),
            Timing { refresh: settings.secret_refresh, ..Timing::default() },
        );
        let (store, writer) =
            store::writer::open(Connection::new(database), settings.flush, settings.database_timeout);
        Ok((IngestWebhook { settings, sources, secrets, store, dead_letter_queue }, writer))
    }

    /// Handles one invocation: a request, or dead letters to redrive.
    ///
    /// # Errors
    /// When the event is neither. In every other case the sender gets a response.
    pub async fn handle(&self, mut event: HttpEvent, request_id: &str, deadline: Instant) -> Result<Reply> {
        let Some(dead_letters) = event.take_dead_letters() else {
            return self.respond(event, request_id, deadline).await.map(Reply::Http);
        };
        let started = Instant::now();
        let outcomes = self.redrive(dead_letters, deadline).await;
        Ok(Reply::Redrive(redrive::RedriveResponse::new(outcomes, started)))
    }

    async fn respond(&self, event: HttpEvent, request_id: &str, deadline: Instant) -> Result<HttpResponse> {
        let started = Instant::now();
        let refuse = |problem: &Problem, id: Option<&str>| {
            info!(status = problem.kind.status(), problem = problem.kind.type_uri(), "delivery refused");
            HttpResponse::problem(problem, Some(id.unwrap_or(request_id)))
        };
        // The source is not declared.
        let refuse_stranger = |problem: &Problem, id: Option<&str>| {
            let response = refuse(problem, id);
            response.count(None);
            response
        };
        let request = match Request::from_event(event, self.settings.max_body_bytes) {
            Ok(request) => request,
            Err(RequestRefusal::NotARequest(error)) => return Err(error),
            Err(RequestRefusal::Problem { problem, request_id }) => {
                return Ok(refuse_stranger(&problem, request_id.as_deref()));
            }
        };
        let Some(source) = self.sources.webhook(&request.source) else {
            let problem = Problem::new(ProblemKind::UnknownSource, "No source of this name has a webhook.");
            return Ok(refuse_stranger(&problem, request.request_id.as_deref()));
        };
        // No part of the delivery is logged: header, query and body may all contain private data.
        let span = info_span!("delivery", request_id, source = source.name);
        let response = match self.receive(source, &request, deadline).instrument(span.clone()).await {
            Ok(response) => response,
            Err(problem) => span.in_scope(|| refuse(&problem, request.request_id.as_deref())),
        };
        response.count(Some(&source.name));
        let duration_ms = started.elapsed().as_millis() as u64;
        span.in_scope(|| {
            info!(status = response.status(), byte_count = request.body.len(), duration_ms, "answered");
        });
        Ok(response)
    }

    async fn receive(
        &self,
        source: &WebhookSource,
        request: &Request,
        deadline: Instant,
    ) -> std::result::Result<HttpResponse, Problem> {
        let (headers, body) = (&request.headers, &request.body[..]);
        match authenticate(&self.secrets, source, headers, body, SystemTime::now()).await {
            Ok(Verification::Accepted(_)) => {}
            Ok(Verification::Refused(refusal)) => {
                warn!(code = refusal.code(), "delivery not verified");
                let challenge = match source.scheme.preset() {
                    Preset::Bearer => Some(Challenge::Bearer),
                    Preset::Basic => Some(Challenge::Basic),
                    _ => None,
                };
                return Err(Problem::unauthorized(refusal.to_string(), challenge));
            }
            Err(error) => {
                // An operator must act, and the sender must send the delivery again: it can neither be accepted nor
                // refused.
                error!(code = error.code().name(), error = error.chain(), "source without a usable secret");
                metrics::failed(&error);
                return Err(unavailable("The source cannot be verified at the moment."));
            }
        }
        if source.scheme.preset() == Preset::Slack
            && let Some(challenge) = content::slack::challenge(body)
        {
            return Ok(HttpResponse::challenge(challenge));
        }
        let parsed = content::parse(headers, body, source.body_options())?;
        let identity = source.identify(headers, body, &parsed.document);
        let context = DeliveryContext {
            source,
            delivery_id: &identity.delivery_id,
            dedupe_keys: &identity.dedupe_keys,
            headers,
        };
        let delivery_type = source.event_type(headers, &[&parsed.document]);
        let rejects = reject_dead_letters(&context, &delivery_type, &parsed);
        let delivery = Delivery {
            source: source.name.clone(),
            dedupe_keys: identity.dedupe_keys.clone(),
            remembered_days: source.dedupe_days,
            events: events(source, headers, &delivery_type, parsed),
        };
        let attempt = DeliveryAttempt { context, event_type: &delivery_type, body, deadline };
        // A dead letter is sent before the commit that omits its record: a crash in between repeats it and never loses
        // it.
        self.send(&rejects, deadline).await?;
        self.store(delivery, &attempt).await
    }

    /// Stores a delivery, or puts it in the dead-letter queue.
    async fn store(
        &self,
        delivery: Delivery,
        attempt: &DeliveryAttempt<'_>,
    ) -> std::result::Result<HttpResponse, Problem> {
        let (delivery_id, is_empty) = (attempt.context.delivery_id, delivery.events.is_empty());
        let failure = match self.store_what_is_taken(delivery, attempt).await {
            // Every record was rejected and is in the dead-letter queue.
            Ok(Stored::New { event_ids }) if event_ids.is_empty() && !is_empty => {
                return Ok(HttpResponse::queued(delivery_id));
            }
            Ok(Stored::New { event_ids }) => return Ok(HttpResponse::stored(&event_ids)),
            Ok(Stored::Duplicate) => return Ok(HttpResponse::duplicate(delivery_id)),
            Err(NotTaken::NoPlace(problem)) => return Err(problem),
            Err(NotTaken::Failed(error)) => error,
        };
        error!(
            code = failure.code().name(),
            error = failure.chain(),
            "not stored; sending to the dead-letter queue"
        );
        metrics::failed(&failure);
        let reason = Reason::new(failure.code(), failure.chain());
        let dead_letter = attempt.context.delivery_dead_letter(attempt.event_type, attempt.body, reason);
        self.send(&[dead_letter], attempt.deadline).await?;
        Ok(HttpResponse::queued(delivery_id))
    }

    /// Stores a delivery without the events that the database refuses. Their dead letters are sent first.
    pub(crate) async fn store_what_is_taken(
        &self,
        mut delivery: Delivery,
        attempt: &DeliveryAttempt<'_>,
    ) -> std::result::Result<Stored, NotTaken> {
        loop {
            let offered = Arc::new(delivery);
            let refused = match self.put(Arc::clone(&offered), attempt.deadline).await {
                Ok(stored) => return Ok(stored),
                Err(NotStored::Failed(error)) => return Err(NotTaken::Failed(error)),
                Err(NotStored::Refused(refused)) => refused,
            };
            delivery = Delivery::clone(&offered);
            let mut dead_letters = Vec::new();
            for (index, refusal) in refused {
                let Some(event) = delivery.events.get_mut(index) else { continue };
                let Some(payload) = event.payload.take() else { continue };
                dead_letters.push(attempt.context.record_dead_letter(
                    &event.event_type,
                    event.number,
                    payload.as_bytes(),
                    Reason::refused(&refusal),
                ));
            }
            warn!(refused = dead_letters.len(), "events refused by the database");
            self.send(&dead_letters, attempt.deadline).await.map_err(NotTaken::NoPlace)?;
        }
    }

    /// Waits for the store, and leaves time for the dead-letter queue.
    pub(crate) async fn put(
        &self,
        delivery: Arc<Delivery>,
        deadline: Instant,
    ) -> std::result::Result<Stored, NotStored> {
        let until = clock::before(deadline, QUEUE_MARGIN, 3);
        timeout_at(until.into(), self.store.put(delivery)).await.unwrap_or_else(|_| {
            let error = Error::new(Kind::Transient, "store the delivery: no answer in time");
            Err(NotStored::Failed(Arc::new(error.with_code(Code::DatabaseTimeout))))
        })
    }

    async fn send(&self, dead_letters: &[DeadLetter], deadline: Instant) -> std::result::Result<(), Problem> {
        if dead_letters.is_empty() {
            return Ok(());
        }
        let until = clock::before(deadline, ANSWER_MARGIN, 10);
        let failure = match timeout_at(until.into(), self.dead_letter_queue.send(dead_letters)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => Error::new(Kind::Transient, "send dead letters: no answer in time"),
        };
        error!(code = failure.code().name(), error = failure.chain(), "delivery not stored");
        metrics::failed(&failure);
        Err(unavailable("The delivery could not be stored. Send it again."))
    }
}

/// Why a delivery is not in the database.
pub(crate) enum NotTaken {
    Failed(Arc<Error>),
    /// The dead letters of its refused events could not be sent either.
    NoPlace(Problem),
}

/// The context of an attempt to store a delivery.
pub(crate) struct DeliveryAttempt<'a> {
    pub context: DeliveryContext<'a>,
    pub event_type: &'a str,
    pub body: &'a [u8],
    pub deadline: Instant,
}

fn unavailable(detail: &'static str) -> Problem {
    Problem::new(ProblemKind::Unavailable, detail)
}

pub(crate) fn reject_dead_letters(
    context: &DeliveryContext<'_>,
    event_type: &str,
    parsed: &Parsed<'_>,
) -> Vec<DeadLetter> {
    let dead_letter = |reject: &content::BodyReject<'_>| {
        let reason = Reason::new(reject.code, reject.reason.clone());
        context.record_dead_letter(event_type, reject.position.record, &reject.raw, reason)
    };
    parsed.rejects.iter().map(dead_letter).collect()
}

/// The events of a delivery. Rejected records are included, so that the ledger counts them as read.
pub(crate) fn events(
    source: &WebhookSource,
    headers: &HeaderMap,
    delivery_type: &str,
    parsed: Parsed<'_>,
) -> Vec<DeliveryEvent> {
    let document = &parsed.document;
    let rejected: BTreeSet<u64> = parsed.rejects.iter().map(|reject| reject.position.record).collect();
    let numbers = (0..).filter(|number| !rejected.contains(number));
    let taken = numbers.zip(&parsed.records).map(|(number, record)| DeliveryEvent {
        number,
        event_type: source.event_type(headers, &[record.json.as_bytes(), document]),
        payload: Some(record.json.clone().into_owned()),
        repair: record.repair.as_ref().map(|repair| Repair {
            line: repair.position.line,
            byte_offset: repair.position.offset,
            rule: repair.rule,
            raw: repair.raw.to_vec(),
        }),
    });
    let rejected = rejected.iter().map(|&number| DeliveryEvent {
        number,
        event_type: delivery_type.to_owned(),
        payload: None,
        repair: None,
    });
    taken.chain(rejected).collect()
}
