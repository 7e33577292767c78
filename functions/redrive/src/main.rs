//! Wires settings and clients, once, and hands every invocation to [`Redrive::handle`].

use std::pin::Pin;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use millrace::clock::deadline;
use redrive::{Redrive, Settings};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let settings = Settings::from_environment().inspect_err(|error| {
        millrace::telemetry::init("info");
        tracing::error!(code = error.code(), error = error.chain(), "not started");
    })?;
    millrace::telemetry::init(&settings.log);
    // Lives as long as the process does.
    let function: &'static Redrive = Box::leak(Box::new(Redrive::new(settings).await));
    let invoke = move |event: LambdaEvent<Value>| -> Pin<Box<dyn Future<Output = Result<Value, Error>>>> {
        Box::pin(async move {
            let deadline = deadline(event.context.deadline);
            function.handle(event.payload, &event.context.request_id, deadline).await.map_err(Error::from)
        })
    };
    run(service_fn(invoke)).await
}
