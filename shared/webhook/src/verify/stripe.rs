//! Stripe: `Stripe-Signature: t=<seconds>,v1=<hex>` over `t.body`. `v0` is for test mode and is ignored.

use crate::scheme::Encoding;
use http::HeaderMap;

use super::header::{MAX_SIGNATURES, decode, malformed, single};
use super::presented::Presented;
use super::refusal::VerifyRefusal;
use super::timestamp;

pub(super) const HEADER: &str = "Stripe-Signature";
const EXPECTED: &str = "`t=`, seconds since 1970, and `v1=`, 64 hexadecimal digits";

pub(super) fn read<'h>(headers: &HeaderMap) -> Result<Presented<'h>, VerifyRefusal> {
    let mut signed_at = None;
    let mut hmacs = Vec::new();
    let mut known = false;
    for (index, part) in single(headers, HEADER)?.split(',').enumerate() {
        if index > MAX_SIGNATURES {
            return Err(VerifyRefusal::OversizedHeader { header: HEADER.to_owned() });
        }
        match part.trim().split_once('=') {
            Some(("t", text)) if signed_at.is_none() => signed_at = Some(text),
            Some(("t", _)) => return Err(malformed(HEADER, EXPECTED)),
            Some(("v1", text)) => {
                known = true;
                hmacs.extend(decode(text, Encoding::Hex, 32));
            }
            _ => {}
        }
    }
    let signed_at = signed_at.ok_or_else(|| malformed(HEADER, EXPECTED))?;
    let presented = Presented {
        header: HEADER,
        signed_at: Some(timestamp::parse(signed_at, HEADER)?),
        prefix: format!("{signed_at}.").into_bytes(),
        hmacs,
        ed25519: Vec::new(),
    };
    match (presented.hmacs.is_empty(), known) {
        (false, _) => Ok(presented),
        (true, true) => Err(malformed(HEADER, EXPECTED)),
        (true, false) => Err(VerifyRefusal::UnsupportedScheme {
            header: HEADER.to_owned(),
            expected: "a signature that begins with `v1=`".to_owned(),
        }),
    }
}
