//! Slack: `X-Slack-Signature: v0=<hex>` over `v0:<X-Slack-Request-Timestamp>:body`.

use crate::scheme::{Algorithm, Encoding};
use http::HeaderMap;

use super::header::single;
use super::presented::Presented;
use super::refusal::VerifyRefusal;
use super::{body_hmac, timestamp};

pub(super) const SIGNATURE: &str = "X-Slack-Signature";
pub(super) const TIMESTAMP: &str = "X-Slack-Request-Timestamp";

pub(super) fn read<'h>(headers: &HeaderMap) -> Result<Presented<'h>, VerifyRefusal> {
    let signed = body_hmac::read(headers, SIGNATURE, Encoding::Hex, "v0=", Algorithm::Sha256)?;
    let signed_at = single(headers, TIMESTAMP)?;
    Ok(Presented {
        signed_at: Some(timestamp::parse(signed_at, TIMESTAMP)?),
        prefix: format!("v0:{signed_at}:").into_bytes(),
        ..signed
    })
}
