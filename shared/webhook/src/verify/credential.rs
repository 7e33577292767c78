//! The secret itself in a header: bearer, basic, or API key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

use super::header::{malformed, single};
use super::keys::Keys;
use super::refusal::VerifyRefusal;
use super::verification::Accepted;

pub(super) const AUTHORIZATION: &str = "Authorization";

pub(super) fn check_bearer(headers: &HeaderMap, keys: &Keys) -> Result<Accepted, VerifyRefusal> {
    let token = authorization(headers, "Bearer")?;
    compare(token.as_bytes(), AUTHORIZATION, keys)
}

pub(super) fn check_basic(headers: &HeaderMap, keys: &Keys) -> Result<Accepted, VerifyRefusal> {
    let text = authorization(headers, "Basic")?;
    let credentials = STANDARD
        .decode(text)
        .map_err(|_| malformed(AUTHORIZATION, "`Basic ` and user:password in base64"))?;
    compare(&credentials, AUTHORIZATION, keys)
}

pub(super) fn check_api_key(
    headers: &HeaderMap,
    header: &str,
    keys: &Keys,
) -> Result<Accepted, VerifyRefusal> {
    compare(single(headers, header)?.as_bytes(), header, keys)
}

/// Returns the text after the scheme's name, which is case-insensitive.
fn authorization<'h>(headers: &'h HeaderMap, scheme: &str) -> Result<&'h str, VerifyRefusal> {
    match single(headers, AUTHORIZATION)?.split_once(' ') {
        Some((name, rest)) if name.eq_ignore_ascii_case(scheme) => Ok(rest.trim_start()),
        _ => Err(VerifyRefusal::UnsupportedScheme {
            header: AUTHORIZATION.to_owned(),
            expected: format!("`{scheme} ` and the credentials"),
        }),
    }
}

fn compare(presented: &[u8], header: &str, keys: &Keys) -> Result<Accepted, VerifyRefusal> {
    match keys.credential(presented) {
        Some(secret) => Ok(Accepted { signed_at: None, secret }),
        None => Err(VerifyRefusal::WrongCredentials { header: header.to_owned() }),
    }
}
