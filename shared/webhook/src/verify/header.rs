//! Reads a header's value, and decodes signatures.

use crate::scheme::Encoding;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

use super::VerifyRefusal;

/// Far above the length of any sender's signature header.
const MAX_HEADER_BYTES: usize = 4_096;
/// Secrets are rotated one at a time, so two of each kind would suffice.
pub(super) const MAX_SIGNATURES: usize = 16;

/// The value of a header that must occur exactly once, without surrounding blanks.
pub(super) fn single<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, VerifyRefusal> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or_else(|| VerifyRefusal::MissingHeader { header: name.to_owned() })?;
    if values.next().is_some() {
        return Err(VerifyRefusal::RepeatedHeader { header: name.to_owned() });
    }
    if value.len() > MAX_HEADER_BYTES {
        return Err(VerifyRefusal::OversizedHeader { header: name.to_owned() });
    }
    match value.to_str().map(str::trim) {
        Ok(text) if !text.is_empty() => Ok(text),
        _ => Err(malformed(name, "visible ASCII characters")),
    }
}

pub(super) fn malformed(name: &str, expected: &'static str) -> VerifyRefusal {
    VerifyRefusal::MalformedHeader { header: name.to_owned(), expected }
}

/// A signature of `len` bytes, or `None` when `text` is anything else.
///
/// Every signature has one spelling: hexadecimal digits of one case, or base64 with padding and no stray bits. A change
/// of any character is therefore detected.
pub(super) fn decode(text: &str, encoding: Encoding, len: usize) -> Option<Vec<u8>> {
    let bytes = match encoding {
        Encoding::Hex => {
            let mixed = text.contains(|c: char| c.is_ascii_lowercase())
                && text.contains(|c: char| c.is_ascii_uppercase());
            if mixed {
                return None;
            }
            hex::decode(text).ok()?
        }
        Encoding::Base64 => STANDARD.decode(text).ok()?,
    };
    (bytes.len() == len).then_some(bytes)
}
