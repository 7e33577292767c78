//! Wires settings and clients, once, and hands every request to [`IngestWebhook::handle`].

use std::pin::Pin;
use std::sync::Arc;

use ingest_webhook::handler::Reply;
use ingest_webhook::request::Invocation;
use ingest_webhook::{IngestWebhook, Settings};
use lambda_runtime::{Error, LambdaEvent, run_concurrent, service_fn};
use millrace::clock::deadline;
use millrace::{metrics, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let settings = telemetry::start(Settings::from_environment(), |settings| &settings.telemetry)?;
    let (function, writer) = telemetry::started(IngestWebhook::new(settings).await)?;
    let function = Arc::new(function);
    // Boxed: the runtime's futures around those of a delivery are deeper than the compiler lays out in one go.
    let invoke =
        move |event: LambdaEvent<Invocation>| -> Pin<Box<dyn Future<Output = Result<Reply, Error>> + Send>> {
            let function = Arc::clone(&function);
            Box::pin(async move {
                let (deadline, request_id) = (deadline(event.context.deadline), &event.context.request_id);
                let handled = function.invoke(event.payload.0, request_id, deadline);
                metrics::invocation(request_id, handled).await.map_err(Error::from)
            })
        };
    let writer: Pin<Box<dyn Future<Output = ()>>> = Box::pin(writer.run());
    // The writer has nothing to do, and does nothing, while no request waits: so nothing runs on after the last answer.
    tokio::select! {
        ended = run_concurrent(service_fn(invoke)) => ended,
        () = writer => Err("the task that stores deliveries ended".into()),
    }
}
