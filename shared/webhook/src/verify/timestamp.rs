//! The time at which a delivery was signed, and its check against the clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::VerifyRefusal;
use super::header::malformed;

/// Seconds since 1970, digits only.
pub(super) fn parse(text: &str, header: &str) -> Result<u64, VerifyRefusal> {
    let digits = (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| digits)
        .ok_or_else(|| malformed(header, "a timestamp in whole seconds since 1970"))
}

/// Seconds are whole: a delivery that was signed 300.9 s ago is 300 s old.
pub(super) fn check(signed_at: u64, tolerance: Duration, now: SystemTime) -> Result<(), VerifyRefusal> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let age = Duration::from_secs(now.saturating_sub(signed_at));
    let ahead = Duration::from_secs(signed_at.saturating_sub(now));
    if age > tolerance {
        return Err(VerifyRefusal::TimestampTooOld { age, tolerance });
    }
    if ahead > tolerance {
        return Err(VerifyRefusal::TimestampInTheFuture { ahead, tolerance });
    }
    Ok(())
}
