//! The visibility of a message of the upload queue while its file is loaded, and after the load failed.
//!
//! SQS hides a received message for the queue's visibility timeout, which must be longer than the function's timeout. A
//! function that is killed, or whose database is unavailable, would leave its file hidden for all of that time. The
//! function therefore hides the message for a short time only, and extends that time while it works.

use std::time::{Duration, Instant};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use millrace::Policy;
use tracing::{debug, warn};

use millrace::notification::UploadMessage;

/// Hides messages of one queue.
#[derive(Debug, Clone, Copy)]
pub struct Visibility<'a> {
    pub sqs: &'a Client,
    pub queue_url: &'a str,
    /// How long a message stays hidden when its function is killed.
    pub hold: Duration,
}

impl Visibility<'_> {
    /// Runs `work`, and keeps `message` hidden until it ends. Nothing of this runs on after it.
    pub async fn hold<T>(&self, message: &UploadMessage, work: impl Future<Output = T>) -> T {
        let extend = async {
            loop {
                self.set(message, self.hold).await;
                tokio::time::sleep(self.hold / 3).await;
            }
        };
        tokio::select! {
            biased;
            outcome = work => outcome,
            never = extend => never,
        }
    }

    /// Lets the queue deliver `message` again after a delay that grows with its receive count. Takes at most half of the
    /// time until `deadline`: the response must still reach Lambda.
    pub async fn retry_later(&self, message: &UploadMessage, policy: Policy, deadline: Instant) {
        let delay = retry_delay(policy, message.receive_count, fastrand::f64());
        let limit = deadline.saturating_duration_since(Instant::now()) / 2;
        if tokio::time::timeout(limit, self.set(message, delay)).await.is_err() {
            warn!("the visibility of the message was not changed in time");
        }
    }

    /// A failure is not the message's: it only stays hidden for longer, or is delivered to a second function, which finds
    /// the chunks that are committed.
    async fn set(&self, message: &UploadMessage, hidden: Duration) {
        let Some(receipt) = &message.receipt_handle else { return };
        let seconds = i32::try_from(hidden.as_secs_f64().ceil() as i64).unwrap_or(i32::MAX);
        let call = self.sqs.change_message_visibility().queue_url(self.queue_url).receipt_handle(receipt);
        match call.visibility_timeout(seconds).send().await {
            Ok(_) => debug!(seconds, "message hidden"),
            Err(error) => {
                let error = DisplayErrorContext(&error).to_string();
                warn!(error, "the visibility of the message was not changed");
            }
        }
    }
}

/// How long a message is hidden after it failed for the `received`-th time: it doubles each time, and `random`, from 0
/// to 1, takes away up to half, so that files that failed together are not all retried at the same moment.
///
/// A failure that may pass by itself is retried after a second or two, at most after five minutes. One that an operator
/// must fix is retried after a minute, at most after fifteen.
fn retry_delay(policy: Policy, received: u32, random: f64) -> Duration {
    let (first, longest) = match policy {
        Policy::RetryNow | Policy::RetryLater => (2.0, 300.0),
        Policy::DeadLetter | Policy::Stop => (60.0, 900.0),
    };
    let doublings = received.saturating_sub(1).min(20) as i32;
    let delay = f64::min(first * 2.0_f64.powi(doublings), longest);
    Duration::from_secs_f64(delay * (1.0 - random / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_from_seconds_to_minutes() {
        let seconds = |policy, received| retry_delay(policy, received, 0.0).as_secs();
        let transient: Vec<u64> = (0..=10).map(|received| seconds(Policy::RetryLater, received)).collect();
        assert_eq!(transient, [2, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        let stopped: Vec<u64> = (1..=6).map(|received| seconds(Policy::Stop, received)).collect();
        assert_eq!(stopped, [60, 120, 240, 480, 900, 900]);
        assert_eq!(seconds(Policy::RetryLater, u32::MAX), 300);
    }

    #[test]
    fn jitter_takes_up_to_half_of_a_delay() {
        assert_eq!(retry_delay(Policy::RetryLater, 1, 1.0), Duration::from_secs(1));
        assert_eq!(retry_delay(Policy::RetryLater, 9, 0.5), Duration::from_secs(225));
    }
}
