//! Standard Webhooks 1.0: `webhook-signature: v1,<base64> v1a,<base64>` over `id.timestamp.body`.

use crate::scheme::Encoding;
use http::HeaderMap;

use super::header::{MAX_SIGNATURES, decode, malformed, single};
use super::presented::Presented;
use super::refusal::VerifyRefusal;
use super::timestamp;

/// The names of the id, timestamp and signature headers. The second set has Svix's names, which are older than the
/// standard.
pub(super) const NAMES: [&str; 3] = ["webhook-id", "webhook-timestamp", "webhook-signature"];
const ALIASES: [&str; 3] = ["svix-id", "svix-timestamp", "svix-signature"];

pub(super) fn read<'h>(headers: &HeaderMap) -> Result<Presented<'h>, VerifyRefusal> {
    // Headers of one set are used, never a mixture: an id that is not signed must not be taken for the signed one.
    let standard = NAMES.iter().any(|name| headers.contains_key(*name));
    let aliased = ALIASES.iter().any(|name| headers.contains_key(*name));
    let [id, timestamp, signature] = if aliased && !standard { ALIASES } else { NAMES };

    let signatures = single(headers, signature)?;
    let id_text = single(headers, id)?;
    let timestamp_text = single(headers, timestamp)?;
    let mut presented = Presented {
        header: signature,
        signed_at: Some(timestamp::parse(timestamp_text, timestamp)?),
        prefix: format!("{id_text}.{timestamp_text}.").into_bytes(),
        hmacs: Vec::new(),
        ed25519: Vec::new(),
    };
    let mut known = false;
    for (index, part) in signatures.split_ascii_whitespace().enumerate() {
        if index == MAX_SIGNATURES {
            return Err(VerifyRefusal::OversizedHeader { header: signature.to_owned() });
        }
        match part.split_once(',') {
            Some(("v1", text)) => {
                known = true;
                presented.hmacs.extend(decode(text, Encoding::Base64, 32));
            }
            Some(("v1a", text)) => {
                known = true;
                presented.ed25519.extend(decode(text, Encoding::Base64, 64));
            }
            _ => {}
        }
    }
    if !presented.hmacs.is_empty() || !presented.ed25519.is_empty() {
        return Ok(presented);
    }
    Err(match known {
        true => malformed(signature, "`v1,` and 32 bytes in base64, or `v1a,` and 64"),
        false => VerifyRefusal::UnsupportedScheme {
            header: signature.to_owned(),
            expected: "a signature that begins with `v1,` or `v1a,`".to_owned(),
        },
    })
}
