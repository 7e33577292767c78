//! Metrics: lines in CloudWatch's embedded metric format on standard output, where Lambda collects them with the logs.
//!
//! Whoever knows a number says it where it comes up: [`add`] counts up, [`record`] keeps a value by itself. Nothing is
//! written there. The line is written when the last invocation under way ends, just before its answer, so that nothing is
//! left when the sandbox is frozen; an environment that serves many requests at once writes one line for up to a hundred of
//! them, or for a second. Off, all of this does nothing.
//!
//! - [`names`]: every metric, its unit and what it is broken down by.
//! - [`counters`]: what was measured since the last line; no I/O.
//! - [`values`]: the values of one line; [`line`](mod@line): its format.
//!
//! A function wraps its invocations and says inside what it did:
//!
//! ```
//! use millrace::metrics::{self, names};
//!
//! async fn handle(request_id: &str) -> millrace::Result<u64> {
//!     // Duration, cold start, an error that comes out, and the line at its end.
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

/// While others are under way, a line is written after so long.
const LONGEST: Duration = Duration::from_secs(1);

static IS_ON: AtomicBool = AtomicBool::new(false);
/// One for the process, as the logs are: the database's retries are counted far below any invocation.
static STATE: Mutex<Option<State>> = Mutex::new(None);

struct State {
    function: String,
    counters: Counters,
    /// Invocations under way.
    running: usize,
    last_written: Instant,
}

/// Starts writing metrics for the function of this name.
pub fn init(function: &str) {
    let mut counters = Counters::default();
    counters.add(names::COLD_START, None, 1);
    let function = function.to_owned();
    *state() = Some(State { function, counters, running: 0, last_written: Instant::now() });
    IS_ON.store(true, Ordering::Relaxed);
}

/// Counts up a metric of the function.
pub fn add(metric: Metric, count: u64) {
    with(|state| state.counters.add(metric, None, count));
}

/// Counts up a metric of a source. `None`: one that nobody declared, whose name a stranger may have made up.
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

/// A length of time as a metric in milliseconds has it.
pub fn millis(duration: Duration) -> f64 {
    // Microseconds are enough, and short to write.
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

/// Runs an invocation: counts it, its duration and the error that comes out of it, and writes the line when no other is
/// under way.
pub async fn invocation<T>(request_id: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut running = Running::begin(request_id);
    let outcome = work.await;
    if let Err(error) = &outcome {
        failed(error);
    }
    running.has_ended = true;
    outcome
}

/// An invocation under way. Ends when it is dropped, also by a panic.
struct Running<'r> {
    request_id: &'r str,
    started: Instant,
    has_ended: bool,
}

impl<'r> Running<'r> {
    fn begin(request_id: &'r str) -> Self {
        with(|state| {
            state.running += 1;
            // So that there is a rate to alarm on while all is well.
            state.counters.add(names::ERRORS, None, 0);
        });
        Running { request_id, started: Instant::now(), has_ended: false }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            failed(&Error::new(Kind::Bug, "an invocation ended half way"));
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
    // The thread that panicked was adding to a counter. The other counters are valid.
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}
