//! Metrics: lines in CloudWatch's embedded metric format on standard output, where Lambda collects them with the logs.
//!
//! [`add`] adds to a counter and [`record`] records a single value. Neither writes a line. The line is written when the last
//! concurrent invocation ends, just before its response, so that no values are lost when the environment is frozen. An
//! environment with many concurrent requests writes one line for up to a hundred requests or one second. If metrics are off,
//! these functions do nothing.
//!
//! - [`names`]: every metric with its unit and dimensions.
//! - [`counters`]: the values since the last line; no I/O.
//! - [`values`]: the values of one line; [`line`](mod@line): its format.
//!
//! A function wraps its invocations:
//!
//! ```
//! use millrace::metrics::{self, names};
//!
//! async fn handle(request_id: &str) -> millrace::Result<u64> {
//!     // Counts the duration, the cold start and an error, and writes the line at the end.
//!     metrics::invocation(request_id, async {
//!         let redriven = 7;
//!         metrics::add(names::DEAD_LETTERS_REDRIVEN, redriven);
//!         Ok(redriven)
//!     })
//!     .await
//! }
//! ```

pub mod counters;
pub mod line;
pub mod names;
pub mod values;

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::{Error, Kind, Result};
use counters::Counters;
use names::Metric;

/// While other invocations run, a line is written after this time.
const LONGEST: Duration = Duration::from_secs(1);

static IS_ON: AtomicBool = AtomicBool::new(false);
/// Global, like the logs, because lower layers count too, such as the retries of the database.
static STATE: Mutex<Option<State>> = Mutex::new(None);

struct State {
    function: String,
    counters: Counters,
    /// The number of running invocations.
    running: usize,
    last_written: Instant,
}

/// Turns metrics on. `function` is the value of the dimension.
pub fn init(function: &str) {
    let mut counters = Counters::default();
    counters.add(names::COLD_START, None, 1);
    let function = function.to_owned();
    *state() = Some(State { function, counters, running: 0, last_written: Instant::now() });
    IS_ON.store(true, Ordering::Relaxed);
}

/// Adds to a metric of the function.
pub fn add(metric: Metric, count: u64) {
    with(|state| state.counters.add(metric, None, count));
}

/// Adds to a metric of a source. `source` is `None` if it is not declared, because a sender can invent names.
pub fn add_of(source: Option<&str>, metric: Metric, count: u64) {
    with(|state| state.counters.add(metric, source, count));
}

/// Records a single value of a metric, so that percentiles can be computed.
pub fn record(metric: Metric, value: f64) {
    with(|state| state.counters.record(metric, None, value));
}

/// [`record`] of a source, as in [`add_of`].
pub fn record_of(source: Option<&str>, metric: Metric, value: f64) {
    with(|state| state.counters.record(metric, source, value));
}

/// A duration in milliseconds, for metrics.
pub fn millis(duration: Duration) -> f64 {
    // Rounded to microseconds, to keep lines short.
    duration.as_micros() as f64 / 1_000.0
}

/// Counts a failure that does not end its invocation with an error.
pub fn failed(error: &Error) {
    let by_kind = match error.kind() {
        Kind::Config => names::ERRORS_CONFIG,
        Kind::Contract => names::ERRORS_CONTRACT,
        Kind::Transient => names::ERRORS_TRANSIENT,
        Kind::Conflict => names::ERRORS_CONFLICT,
        Kind::Bug => names::ERRORS_BUG,
    };
    with(|state| {
        state.counters.add(names::ERRORS, None, 1);
        state.counters.add(by_kind, None, 1);
    });
}

/// Runs an invocation. Records its duration and its error, and writes the line if no other invocation runs.
pub async fn invocation<T>(request_id: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut running = Running::begin(request_id);
    let outcome = work.await;
    if let Err(error) = &outcome {
        failed(error);
    }
    running.has_ended = true;
    outcome
}

/// A running invocation. It ends when this is dropped, also by a panic.
struct Running<'r> {
    request_id: &'r str,
    started: Instant,
    has_ended: bool,
}

impl<'r> Running<'r> {
    fn begin(request_id: &'r str) -> Self {
        with(|state| {
            state.running += 1;
            // Alarms need values also while nothing fails.
            state.counters.add(names::ERRORS, None, 0);
        });
        Running { request_id, started: Instant::now(), has_ended: false }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            failed(&Error::new(Kind::Bug, "the invocation was dropped before it ended"));
        }
        let lines = with(|state| {
            state.counters.record(names::DURATION, None, millis(self.started.elapsed()));
            state.running = state.running.saturating_sub(1);
            let is_last = state.running == 0;
            if !is_last && !state.counters.is_full() && state.last_written.elapsed() < LONGEST {
                return Vec::new();
            }
            state.last_written = Instant::now();
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
            state.counters.lines(&state.function, Some(self.request_id), now)
        });
        for line in lines.unwrap_or_default() {
            // When standard output is closed, the error cannot be reported. The work itself is done.
            drop(std::io::stdout().lock().write_all(&line));
        }
    }
}

fn with<T>(measure: impl FnOnce(&mut State) -> T) -> Option<T> {
    if !IS_ON.load(Ordering::Relaxed) {
        return None;
    }
    state().as_mut().map(measure)
}

fn state() -> MutexGuard<'static, Option<State>> {
    // A thread panicked while it added to a counter. The other counters are valid.
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}
