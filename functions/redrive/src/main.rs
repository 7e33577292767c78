//! Wires settings and clients, once, and hands every invocation to [`Redrive::handle`].

use std::pin::Pin;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use millrace::clock::deadline;
use millrace::{metrics, telemetry};
use redrive::{Redrive, Settings};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let settings = telemetry::start(Settings::from_environment(), |settings| &settings.telemetry)?;
    // Lives as long as the process does.
    let function: &'static Redrive = Box::leak(Box::new(Redrive::new(settings).await));
    let invoke = move |event: LambdaEvent<Value>| -> Pin<Box<dyn Future<Output = Result<Value, Error>>>> {
        Box::pin(async move {
            let (deadline, request_id) = (deadline(event.context.deadline), &event.context.request_id);
            let handled = function.handle(event.payload, request_id, deadline);
            metrics::invocation(request_id, handled).await.map_err(Error::from)
        })
    };
    run(service_fn(invoke)).await
}
