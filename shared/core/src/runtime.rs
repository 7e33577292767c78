//! The process of a Lambda function: [`start`] reads the settings and creates the clients once, [`run`] calls the
//! function for each invocation. The `main` of each function calls the two.

use std::pin::Pin;
use std::time::Instant;

use lambda_runtime::{LambdaEvent, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;
use tracing::{Instrument, error, info_span};

pub use lambda_runtime::Error;

use crate::clock::deadline;
use crate::config::environment::{EnvironmentReader, read_environment};
use crate::{Result, metrics, telemetry};

/// One invocation of a function.
#[derive(Debug)]
pub struct Invocation<E = Value> {
    pub event: E,
    pub request_id: String,
    /// Lambda ends the invocation at this moment.
    pub deadline: Instant,
}

/// Reads the settings with `read`, starts logs and metrics, and creates the function's clients with `create`.
///
/// # Errors
/// When variables are missing or wrong, and those of `create`. The error is logged.
pub async fn start<S, F>(
    read: impl FnOnce(&mut EnvironmentReader<'_>) -> S,
    create: impl AsyncFnOnce(S) -> Result<F>,
) -> Result<F> {
    let created = match read_environment(|env| (read(env), telemetry::Settings::read(env))) {
        Ok((settings, telemetry)) => {
            telemetry.start();
            create(settings).await
        }
        Err(error) => {
            telemetry::init("info");
            Err(error)
        }
    };
    created.inspect_err(|error| error!(code = error.code().name(), error = error.chain(), "not started"))
}

/// Calls `handle` for each invocation, one at a time.
///
/// Each invocation has a span `invocation` with its request id, and is counted in the metrics.
///
/// # Errors
/// When the Runtime API does not respond. The error of an invocation is the response of that invocation.
pub async fn run<E, R>(handle: impl AsyncFnMut(Invocation<E>) -> Result<R>) -> std::result::Result<(), Error>
where
    E: DeserializeOwned,
    R: Serialize,
{
    // Lambda sends one invocation at a time, so nobody waits for the lock.
    let handle = &Mutex::new(handle);
    let one_at_a_time = move |invocation| async move {
        let mut handle = handle.lock().await;
        (*handle)(invocation).await
    };
    // Boxed: the futures of the runtime around those of a function are too deep for the compiler.
    let invoke = |event| -> Pin<Box<dyn Future<Output = _>>> { Box::pin(invoke(event, one_at_a_time)) };
    lambda_runtime::run(service_fn(invoke)).await
}

/// Calls `handle` for each invocation, for as many concurrent ones as Lambda sends.
///
/// # Errors
/// As [`run`].
pub async fn run_concurrent<E, R, F>(
    handle: impl Fn(Invocation<E>) -> F + Clone + Send + 'static,
) -> std::result::Result<(), Error>
where
    E: DeserializeOwned + Send + 'static,
    R: Serialize + Send + 'static,
    F: Future<Output = Result<R>> + Send + 'static,
{
    // Boxed as in `run`.
    let invoke =
        move |event| -> Pin<Box<dyn Future<Output = _> + Send>> { Box::pin(invoke(event, handle.clone())) };
    lambda_runtime::run_concurrent(service_fn(invoke)).await
}

async fn invoke<E, R, F>(
    event: LambdaEvent<E>,
    handle: impl FnOnce(Invocation<E>) -> F,
) -> std::result::Result<R, Error>
where
    F: Future<Output = Result<R>>,
{
    let LambdaEvent { payload: event, context } = event;
    let request_id = context.request_id;
    let span = info_span!("invocation", request_id);
    let deadline = deadline(context.deadline);
    let handled = handle(Invocation { event, request_id: request_id.clone(), deadline }).instrument(span);
    metrics::invocation(&request_id, handled).await.map_err(Error::from)
}
