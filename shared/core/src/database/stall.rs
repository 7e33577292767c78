//! Detects that the server does not respond.
//!
//! The kernel detects lost packets (`tcp_user_timeout`, keepalives), unless something on the path still acknowledges them: a
//! proxy, a pooler, a load balancer, a stopped server. A wait on such a connection would last until the deadline. Therefore a
//! timeout restarts whenever the driver is woken, by received bytes, sent bytes or a queued request. A transaction is
//! cancelled when the stall timeout expires.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The time of a connection's last activity. The driver's task and the callers that wait for it share it.
#[derive(Debug, Clone)]
pub struct StallDetector(Arc<LastActivity>);

#[derive(Debug)]
struct LastActivity {
    created: Instant,
    /// Milliseconds after `created`.
    last_activity: AtomicU64,
    /// The number of pauses: operations that do not wait for the server.
    pauses: AtomicUsize,
}

impl StallDetector {
    pub(super) fn new() -> Self {
        let activity = LastActivity {
            created: Instant::now(),
            last_activity: AtomicU64::new(0),
            pauses: AtomicUsize::new(0),
        };
        StallDetector(Arc::new(activity))
    }

    /// Records activity.
    pub(super) fn activity(&self) {
        self.0.last_activity.store(self.0.created.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Runs `work`, which does not wait for the database. The timeout is paused meanwhile.
    pub async fn pause<T>(&self, work: impl Future<Output = T>) -> T {
        let _paused = Paused::begin(self);
        work.await
    }

    /// Completes when there was no activity for `limit`.
    pub(super) async fn stalled(&self, limit: Duration) {
        loop {
            let last_activity =
                self.0.created + Duration::from_millis(self.0.last_activity.load(Ordering::Relaxed));
            let at = match self.0.pauses.load(Ordering::Relaxed) {
                0 => last_activity + limit,
                _ => Instant::now() + limit,
            };
            if at <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(at.into()).await;
        }
    }
}

/// Ends the pause on drop, also if its work is dropped before it completes.
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
