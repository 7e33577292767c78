//! Time as PostgreSQL stores it (whole microseconds, UTC), and as the Lambda Runtime API sends it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// When an invocation ends. `unix_millis` is in milliseconds since 1970, as the Runtime API has it.
pub fn deadline(unix_millis: u64) -> Instant {
    let at = UNIX_EPOCH + Duration::from_millis(unix_millis);
    Instant::now() + at.duration_since(SystemTime::now()).unwrap_or_default()
}

/// The time `margin` before `deadline`. The margin is at most a `part`th of the remaining time.
pub fn before(deadline: Instant, margin: Duration, part: u32) -> Instant {
    deadline - margin.min(deadline.saturating_duration_since(Instant::now()) / part)
}

/// Microseconds from 1970-01-01 to 2000-01-01, the epoch of PostgreSQL.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// The moment a batch was received: microseconds since 1970-01-01 UTC, on or after that day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReceivedAt(i64);

impl ReceivedAt {
    /// The current time. It never returns the same time twice in a process: the rows of a batch are found by their
    /// `received_at`, so two batches should not have the same.
    pub fn now() -> Self {
        static LAST: AtomicI64 = AtomicI64::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64;
        let mut last = LAST.load(Ordering::Relaxed);
        loop {
            let next = now.max(last + 1);
            match LAST.compare_exchange_weak(last, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return ReceivedAt(next),
                Err(seen) => last = seen,
            }
        }
    }

    pub fn to_system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.0.unsigned_abs())
    }

    /// What binary COPY carries: microseconds since 2000-01-01 UTC.
    pub fn to_postgres_micros(self) -> i64 {
        self.0 - POSTGRES_EPOCH_MICROS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_moments_of_one_process_are_equal() {
        let moments: Vec<_> = (0..10_000).map(|_| ReceivedAt::now()).collect();
        assert!(moments.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_margin_is_at_most_a_part_of_the_time_that_is_left() {
        let deadline = Instant::now() + Duration::from_secs(100);
        assert_eq!(before(deadline, Duration::from_secs(5), 10), deadline - Duration::from_secs(5));
        assert!(before(deadline, Duration::from_secs(50), 10) >= deadline - Duration::from_secs(10));
        let past = Instant::now();
        assert_eq!(before(past, Duration::from_secs(5), 10), past);
    }

    #[test]
    fn the_epochs_are_thirty_years_apart() {
        assert_eq!(ReceivedAt(946_684_800_000_001).to_postgres_micros(), 1);
        assert_eq!(ReceivedAt(5).to_system_time(), UNIX_EPOCH + Duration::from_micros(5));
    }
}
