//! Noticing that the server has fallen silent.
//!
//! Packets that vanish are noticed by the kernel (`tcp_user_timeout`, keepalives), unless something on the way still
//! acknowledges them: a proxy, a pooler, a load balancer, a server that is stopped. A wait on such a connection would last
//! until the Lambda deadline. So every time the driver is woken (bytes came, the socket took some, a request was queued)
//! a clock starts anew, and a transaction whose clock runs past the stall timeout is abandoned.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The time of a connection's last activity. The driver's task and the callers that wait for it share it.
#[derive(Debug, Clone)]
pub struct StallDetector(Arc<Activity>);

#[derive(Debug)]
struct Activity {
    born: Instant,
    /// Milliseconds after `born`.
    moved: AtomicU64,
    /// How many waits are under way that are not for the server.
    pauses: AtomicUsize,
}

impl StallDetector {
    pub(super) fn new() -> Self {
        let activity =
            Activity { born: Instant::now(), moved: AtomicU64::new(0), pauses: AtomicUsize::new(0) };
        StallDetector(Arc::new(activity))
    }

    /// Something moved.
    pub(super) fn activity(&self) {
        self.0.moved.store(self.0.born.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Runs `work`, which waits for something other than the database; the clock is paused meanwhile.
    pub async fn pause<T>(&self, work: impl Future<Output = T>) -> T {
        let _paused = Paused::begin(self);
        work.await
    }

    /// Ends once nothing has moved for `limit`.
    pub(super) async fn stalled(&self, limit: Duration) {
        loop {
            let moved = self.0.born + Duration::from_millis(self.0.moved.load(Ordering::Relaxed));
            let at = match self.0.pauses.load(Ordering::Relaxed) {
                0 => moved + limit,
                _ => Instant::now() + limit,
            };
            if at <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(at.into()).await;
        }
    }
}

/// The pause ends on drop, also when its work is dropped before it completes.
struct Paused<'s>(&'s StallDetector);

impl<'s> Paused<'s> {
    fn begin(stall_detector: &'s StallDetector) -> Self {
        stall_detector.0.pauses.fetch_add(1, Ordering::Relaxed);
        Paused(stall_detector)
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.activity();
        self.0.0.pauses.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(60);

    #[tokio::test]
    async fn activity_restarts_the_timeout_and_a_pause_stops_it() {
        let stall_detector = StallDetector::new();
        let work = async {
            for _ in 0..10 {
                tokio::time::sleep(LIMIT / 4).await;
                stall_detector.activity();
            }
            stall_detector.pause(tokio::time::sleep(LIMIT * 3)).await;
            tokio::time::sleep(LIMIT / 4).await;
            "worked"
        };
        let winner = tokio::select! {
            worked = work => worked,
            () = stall_detector.stalled(LIMIT) => "stalled",
        };
        assert_eq!(winner, "worked");
        stall_detector.stalled(LIMIT).await;
    }
}
