//! Wires settings and clients, once, and hands every request to [`IngestWebhook::handle`].

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ingest_webhook::answer::Answer;
use ingest_webhook::request::Invocation;
use ingest_webhook::{IngestWebhook, Settings};
use lambda_runtime::{Error, LambdaEvent, run_concurrent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let settings = Settings::from_environment().inspect_err(|error| {
        millrace::telemetry::init("info");
        tracing::error!(code = error.code(), error = error.chain(), "not started");
    })?;
    millrace::telemetry::init(&settings.log);
    let (function, writer) = IngestWebhook::new(settings)
        .await
        .inspect_err(|error| tracing::error!(code = error.code(), error = error.chain(), "not started"))?;
    let function = Arc::new(function);
    // Boxed: the runtime's futures around those of a delivery are deeper than the compiler lays out in one go.
    let invoke =
        move |event: LambdaEvent<Invocation>| -> Pin<Box<dyn Future<Output = Result<Answer, Error>> + Send>> {
            let function = Arc::clone(&function);
            Box::pin(async move {
                let deadline = Instant::now() + time_left(event.context.deadline);
                function
                    .handle(event.payload.0, &event.context.request_id, deadline)
                    .await
                    .map_err(Error::from)
            })
        };
    let writer: Pin<Box<dyn Future<Output = ()>>> = Box::pin(writer.run());
    // The writer has nothing to do, and does nothing, while no request waits: so nothing runs on after the last answer.
    tokio::select! {
        ended = run_concurrent(service_fn(invoke)) => ended,
        () = writer => Err("the task that stores deliveries ended".into()),
    }
}

/// `deadline_ms` is in milliseconds since 1970, as the Runtime API has it.
fn time_left(deadline_ms: u64) -> Duration {
    let deadline = UNIX_EPOCH + Duration::from_millis(deadline_ms);
    deadline.duration_since(SystemTime::now()).unwrap_or_default()
}
