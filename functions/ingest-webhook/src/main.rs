//! Creates the clients once and passes each request to [`IngestWebhook::handle`].

use std::pin::pin;
use std::sync::Arc;

use ingest_webhook::request::EventPayload;
use ingest_webhook::{IngestWebhook, Settings};
use millrace::runtime::{self, Invocation};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), runtime::Error> {
    let (function, writer) = runtime::start(Settings::read, IngestWebhook::new).await?;
    let function = Arc::new(function);
    let handle = move |Invocation { event: EventPayload(event), request_id, deadline }| {
        let function = Arc::clone(&function);
        async move { function.handle(event, &request_id, deadline).await }
    };
    let writer = pin!(writer.run());
    // The writer has nothing to do, and does nothing, while no request waits: so nothing runs on after the last answer.
    tokio::select! {
        ended = runtime::run_concurrent(handle) => ended,
        () = writer => Err("the task that stores deliveries ended".into()),
    }
}
