//! Slack's `url_verification`: Slack accepts a request URL only when the response contains the challenge that it sent.

use std::borrow::Cow;

use serde::Deserialize;

#[derive(Deserialize)]
struct UrlVerification<'b> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'b, str>,
    #[serde(borrow)]
    challenge: Cow<'b, str>,
}

/// The challenge, when the verified body is a URL verification.
pub fn challenge(body: &[u8]) -> Option<String> {
    let verification: UrlVerification<'_> = serde_json::from_slice(body).ok()?;
    (verification.kind == "url_verification").then(|| verification.challenge.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_challenge_is_returned() {
        let body = br#"{"token":"x","challenge":"3eZbrw1a\u0042","type":"url_verification"}"#;
        assert_eq!(challenge(body).as_deref(), Some("3eZbrw1aB"));
        for other in [
            &br#"{"type":"event_callback","challenge":"a"}"#[..],
            br#"{"type":"url_verification"}"#,
            br#"{"type":"url_verification","challenge":7}"#,
            b"[]",
            b"",
            b"\xff",
        ] {
            assert_eq!(challenge(other), None);
        }
    }
}
