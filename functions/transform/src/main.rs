//! Wires settings and clients, once, and hands every invocation to [`Transform::handle`].

use std::pin::Pin;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use millrace::clock::deadline;
use serde_json::Value;
use tokio::sync::Mutex;
use transform::{Settings, Transform};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let settings = Settings::from_environment().inspect_err(|error| {
        millrace::telemetry::init("info");
        tracing::error!(code = error.code(), error = error.chain(), "not started");
    })?;
    millrace::telemetry::init(&settings.log);
    // Lives as long as the process does; Lambda hands over one invocation at a time.
    let function: &'static Mutex<Transform> =
        Box::leak(Box::new(Mutex::new(Transform::new(settings).await.inspect_err(|error| {
            tracing::error!(code = error.code(), error = error.chain(), "not started")
        })?)));
    // Boxed: the runtime's futures around those of a claim are deeper than the compiler lays out in one go.
    let invoke = move |event: LambdaEvent<Value>| -> Pin<Box<dyn Future<Output = Result<Value, Error>>>> {
        Box::pin(async move {
            let deadline = deadline(event.context.deadline);
            let mut function = function.lock().await;
            function.invoke(&event.payload, &event.context.request_id, deadline).await.map_err(Error::from)
        })
    };
    run(service_fn(invoke)).await
}
