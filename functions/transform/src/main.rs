//! Wires settings and clients, once, and hands every invocation to [`Transform::handle`].

use std::pin::Pin;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use millrace::clock::deadline;
use millrace::{metrics, telemetry};
use serde_json::Value;
use tokio::sync::Mutex;
use transform::{Settings, Transform};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let settings = telemetry::start(Settings::from_environment(), |settings| &settings.telemetry)?;
    // Lives as long as the process does; Lambda hands over one invocation at a time.
    let function: &'static Mutex<Transform> =
        Box::leak(Box::new(Mutex::new(telemetry::started(Transform::new(settings).await)?)));
    // Boxed: the runtime's futures around those of a claim are deeper than the compiler lays out in one go.
    let invoke = move |event: LambdaEvent<Value>| -> Pin<Box<dyn Future<Output = Result<Value, Error>>>> {
        Box::pin(async move {
            let (deadline, request_id) = (deadline(event.context.deadline), &event.context.request_id);
            let mut function = function.lock().await;
            let handled = function.invoke(&event.payload, request_id, deadline);
            metrics::invocation(request_id, handled).await.map_err(Error::from)
        })
    };
    run(service_fn(invoke)).await
}
