//! An HMAC of the body in a header, as GitHub, Shopify and others send it.

use crate::scheme::{Algorithm, Encoding};
use http::HeaderMap;

use super::header::{decode, malformed, single};
use super::keys::hmac_algorithm;
use super::presented::Presented;
use super::refusal::VerifyRefusal;

pub(super) const GITHUB: &str = "X-Hub-Signature-256";
pub(super) const GITHUB_PREFIX: &str = "sha256=";
pub(super) const SHOPIFY: &str = "X-Shopify-Hmac-SHA256";

pub(super) fn read_github<'h>(headers: &HeaderMap) -> Result<Presented<'h>, VerifyRefusal> {
    read(headers, GITHUB, Encoding::Hex, GITHUB_PREFIX, Algorithm::Sha256)
}

pub(super) fn read_shopify<'h>(headers: &HeaderMap) -> Result<Presented<'h>, VerifyRefusal> {
    read(headers, SHOPIFY, Encoding::Base64, "", Algorithm::Sha256)
}

pub(super) fn read<'h>(
    headers: &HeaderMap,
    header: &'h str,
    encoding: Encoding,
    prefix: &str,
    algorithm: Algorithm,
) -> Result<Presented<'h>, VerifyRefusal> {
    let value = single(headers, header)?;
    let text = value.strip_prefix(prefix).ok_or_else(|| VerifyRefusal::UnsupportedScheme {
        header: header.to_owned(),
        expected: format!("a signature that begins with `{prefix}`"),
    })?;
    let len = hmac_algorithm(algorithm).digest_algorithm().output_len();
    let signature = decode(text, encoding, len).ok_or_else(|| {
        malformed(
            header,
            match encoding {
                Encoding::Hex => "the whole signature in hexadecimal digits of one case",
                Encoding::Base64 => "the whole signature in base64",
            },
        )
    })?;
    Ok(Presented { header, signed_at: None, prefix: Vec::new(), hmacs: vec![signature], ed25519: Vec::new() })
}
