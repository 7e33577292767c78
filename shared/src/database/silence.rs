//! Noticing that the server has fallen silent.
//!
//! Packets that vanish are noticed by the kernel (`tcp_user_timeout`, keepalives), unless something on the way still
//! acknowledges them: a proxy, a pooler, a load balancer, a server that is stopped. A wait on such a connection would last
//! until the Lambda deadline. So every time the driver is woken (bytes came, the socket took some, a request was queued)
//! a clock starts anew, and a transaction whose clock runs past the stall timeout is abandoned.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// When a connection last moved; shared by the driver's task and whoever waits for it.
#[derive(Debug, Clone)]
pub struct Silence(Arc<Clock>);

#[derive(Debug)]
struct Clock {
    born: Instant,
    /// Milliseconds after `born`.
    moved: AtomicU64,
    /// How many waits are under way that are not for the server.
    elsewhere: AtomicUsize,
}

impl Silence {
    pub(super) fn new() -> Self {
        let clock = Clock { born: Instant::now(), moved: AtomicU64::new(0), elsewhere: AtomicUsize::new(0) };
        Silence(Arc::new(clock))
    }

    /// Something moved.
    pub(super) fn broken(&self) {
        self.0.moved.store(self.0.born.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Runs `work`, which waits for something other than the database; the clock stands still meanwhile.
    pub async fn elsewhere<T>(&self, work: impl Future<Output = T>) -> T {
        let _away = Away::begin(self);
        work.await
    }

    /// Ends once nothing has moved for `limit`.
    pub(super) async fn lasts(&self, limit: Duration) {
        loop {
            let moved = self.0.born + Duration::from_millis(self.0.moved.load(Ordering::Relaxed));
            let at = match self.0.elsewhere.load(Ordering::Relaxed) {
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

/// Ends when dropped, also when the work that it stands for is dropped half way.
struct Away<'s>(&'s Silence);

impl<'s> Away<'s> {
    fn begin(silence: &'s Silence) -> Self {
        silence.0.elsewhere.fetch_add(1, Ordering::Relaxed);
        Away(silence)
    }
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        self.0.broken();
        self.0.0.elsewhere.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(60);

    #[tokio::test]
    async fn silence_ends_with_every_movement_and_waits_while_work_is_elsewhere() {
        let silence = Silence::new();
        let waits = async {
            for _ in 0..10 {
                tokio::time::sleep(LIMIT / 4).await;
                silence.broken();
            }
            silence.elsewhere(tokio::time::sleep(LIMIT * 3)).await;
            tokio::time::sleep(LIMIT / 4).await;
            "worked"
        };
        let winner = tokio::select! {
            worked = waits => worked,
            () = silence.lasts(LIMIT) => "fell silent",
        };
        assert_eq!(winner, "worked");
        silence.lasts(LIMIT).await;
    }
}
