//! Explains why a delivery is refused. The text never contains a secret or a valid signature.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use millrace_webhook::verify::{Keys, Verification, VerifyRefusal, verify};
use millrace_webhook::{Algorithm, Encoding, Scheme};

/// A refused delivery, and the data with which it was verified.
#[derive(Clone, Copy)]
pub struct RefusedDelivery<'a> {
    pub scheme: &'a Scheme,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
    pub keys: &'a Keys,
    pub now: SystemTime,
}

impl RefusedDelivery<'_> {
    fn is_accepted(&self) -> bool {
        let verification = verify(self.scheme, self.headers, self.body, self.keys, self.now);
        matches!(verification, Verification::Accepted(_))
    }
}

/// The signature or credential of a delivery of this scheme.
pub fn expectation(scheme: &Scheme) -> String {
    match scheme {
        Scheme::Standard { .. } => {
            "webhook-id, webhook-timestamp and webhook-signature: v1,<base64>, an HMAC-SHA256 over id.timestamp.body with \
             what whsec_ encodes; or v1a,<base64>, ed25519"
                .to_owned()
        }
        Scheme::Github => "X-Hub-Signature-256: sha256=<hex>, the HMAC-SHA256 of the body".to_owned(),
        Scheme::Stripe { .. } => {
            "Stripe-Signature: t=<seconds>,v1=<hex>, an HMAC-SHA256 over t.body with the endpoint's whole whsec_…".to_owned()
        }
        Scheme::Shopify => "X-Shopify-Hmac-SHA256: <base64>, the HMAC-SHA256 of the body".to_owned(),
        Scheme::Slack { .. } => "X-Slack-Request-Timestamp, and X-Slack-Signature: v0=<hex>, an HMAC-SHA256 over \
                                 v0:timestamp:body"
            .to_owned(),
        Scheme::Hmac { header, encoding, prefix, algorithm } => {
            let encoding = match encoding {
                Encoding::Hex => "hex",
                Encoding::Base64 => "base64",
            };
            let algorithm = match algorithm {
                Algorithm::Sha256 => "SHA256",
                Algorithm::Sha512 => "SHA512",
                Algorithm::Sha1 => "SHA1",
            };
            format!("{header}: {prefix}<{encoding}>, the HMAC-{algorithm} of the body")
        }
        Scheme::Bearer => "Authorization: Bearer <the secret>".to_owned(),
        Scheme::Basic => "Authorization: Basic <user:password in base64>".to_owned(),
        Scheme::ApiKey { header } => format!("{header}: <the secret>"),
    }
}

/// The findings about a refusal, one sentence each.
pub fn diagnose(delivery: &RefusedDelivery<'_>, refusal: &VerifyRefusal) -> Vec<String> {
    match refusal {
        VerifyRefusal::MissingHeader { .. } => {
            let names: Vec<&str> = delivery.headers.keys().map(|name| name.as_str()).collect();
            vec![match names.is_empty() {
                true => "No header was given: give each with --header 'NAME: VALUE'.".to_owned(),
                false => format!("Given are {}.", names.join(", ")),
            }]
        }
        VerifyRefusal::TimestampTooOld { age, .. } => vec![
            "A recorded delivery was sent again, or a clock is wrong. A retry of a sender has a new timestamp.".to_owned(),
            at_its_own_time(delivery, delivery.now.checked_sub(*age)),
        ],
        VerifyRefusal::TimestampInTheFuture { ahead, .. } => vec![
            "A clock is wrong, or the timestamp is not in seconds.".to_owned(),
            at_its_own_time(delivery, delivery.now.checked_add(*ahead)),
        ],
        VerifyRefusal::NoSignatureMatches { .. } => vec![mismatch(delivery)],
        VerifyRefusal::WrongCredentials { .. } => {
            vec!["Compare it with the stored secret, including white space and line ends.".to_owned()]
        }
        VerifyRefusal::RepeatedHeader { .. }
        | VerifyRefusal::OversizedHeader { .. }
        | VerifyRefusal::MalformedHeader { .. }
        | VerifyRefusal::UnsupportedScheme { .. } => Vec::new(),
    }
}

fn at_its_own_time(delivery: &RefusedDelivery<'_>, then: Option<SystemTime>) -> String {
    let Some(now) = then else { return String::new() };
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let then = RefusedDelivery { now, ..*delivery };
    match then.is_accepted() {
        true => format!("The rest is valid: with --at {seconds} it is accepted."),
        false => format!("Its signature does not match either; run this with --at {seconds} for details."),
    }
}

/// The change of the body that explains why no signature matches, if one is found.
fn mismatch(delivery: &RefusedDelivery<'_>) -> String {
    for (change, body) in variants(delivery.body) {
        let was = RefusedDelivery { body: &body, ..*delivery };
        if was.is_accepted() {
            return format!(
                "The signature is valid for the body {change}: these are not the bytes that were sent. Sign and verify the \
                 raw body, before anything parses it."
            );
        }
    }
    let looks_changed = serde_json::from_slice::<serde::de::IgnoredAny>(delivery.body).is_ok()
        && delivery.body.contains(&b'\n');
    match looks_changed {
        true => "The secret is wrong, or the body was re-serialised: it is JSON with line breaks, which few senders \
                 send. Signatures are over the raw bytes."
            .to_owned(),
        false => "The secret is wrong, or the bytes of the body are not those that were sent.".to_owned(),
    }
}

/// Variants of the body before it was saved, printed or parsed.
fn variants(body: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut variants = Vec::new();
    if let Some(shorter) = body.strip_suffix(b"\n") {
        let shorter = shorter.strip_suffix(b"\r").unwrap_or(shorter);
        variants.push(("without its final line end", shorter.to_vec()));
    }
    variants.push(("with a final line end", [body, b"\n"].concat()));
    if let Some(rest) = body.strip_prefix(b"\xef\xbb\xbf") {
        variants.push(("without its byte order mark", rest.to_vec()));
    }
    if let Ok(text) = std::str::from_utf8(body) {
        let unix = text.replace("\r\n", "\n");
        variants.push(("with line ends of Windows (CR LF)", unix.replace('\n', "\r\n").into_bytes()));
        variants.push(("with line ends of Unix (LF)", unix.into_bytes()));
        if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
            variants.push(("as JSON without white space", respace(text, "", "").into_bytes()));
            variants.push((
                "as JSON with a space after each comma and colon",
                respace(text, ", ", ": ").into_bytes(),
            ));
        }
    }
    if let Ok(decoded) = STANDARD.decode(body.trim_ascii()) {
        variants.push(("after base64 decoding", decoded));
    }
    variants.retain(|(_, variant)| variant != body);
    variants
}

/// Formats JSON with the given separators. Empty separators mean no white space at all.
fn respace(json: &str, comma: &str, colon: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for character in json.chars() {
        if in_string {
            text.push(character);
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
            continue;
        }
        match character {
            ' ' | '\t' | '\n' | '\r' => {}
            ',' if !comma.is_empty() => text.push_str(comma),
            ':' if !colon.is_empty() => text.push_str(colon),
            _ => {
                in_string = character == '"';
                text.push(character);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use millrace::config::environment::Secret;
    use millrace_webhook::verify::sign;

    use super::*;

    const SECRET: &str = "canary";

    /// What is said about `received` when `sent` was signed.
    fn said(sent: &[u8], received: &[u8]) -> String {
        let (scheme, now) = (Scheme::Github, SystemTime::now());
        let headers = sign(&scheme, &Secret::from(SECRET), "1", sent, now).unwrap();
        let keys = Keys::new(&scheme, &[Secret::from(SECRET)]).unwrap();
        let delivery =
            RefusedDelivery { scheme: &scheme, headers: &headers, body: received, keys: &keys, now };
        let Verification::Refused(refusal) = verify(&scheme, &headers, received, &keys, now) else {
            panic!("it is right")
        };
        diagnose(&delivery, &refusal).join("\n")
    }

    #[test]
    fn what_became_of_the_body_is_found_out() {
        let compact = br#"{"a":[1,{"b":"x, y: \" z\\"}],"c":"d"}"#;
        let blanks = br#"{"a": [1, {"b": "x, y: \" z\\"}], "c": "d"}"#;
        let pretty = b"{\n  \"a\": [\n    1,\n    {\n      \"b\": \"x, y: \\\" z\\\\\"\n    }\n  ],\n  \"c\": \"d\"\n}\n";
        for (sent, received, change) in [
            (&b"{}"[..], &b"{}\n"[..], "without its final line end"),
            (b"{}", b"{}\r\n", "without its final line end"),
            (b"{}\n", b"{}", "with a final line end"),
            (b"{}", b"\xef\xbb\xbf{}", "byte order mark"),
            (b"[1,\r\n2]", b"[1,\n2]", "Windows"),
            (b"[1,\n2]", b"[1,\r\n2]", "Unix"),
            (compact, blanks, "without white space"),
            (compact, pretty, "without white space"),
            (blanks, compact, "after each comma"),
            (blanks, pretty, "after each comma"),
            (b"{}", b"e30=", "base64"),
        ] {
            let said = said(sent, received);
            assert!(said.contains(change), "{change}: {said}");
        }
    }

    #[test]
    fn what_cannot_be_found_out_is_not_guessed_and_nothing_secret_is_said() {
        for (sent, received, words) in [
            (&b"{\"a\":1}"[..], &b"{\n \"a\": 2}"[..], "re-serialised"),
            (b"{\"a\":1}", b"{\"a\":2}", "The secret is wrong"),
        ] {
            let said = said(sent, received);
            assert!(said.contains(words) && !said.contains(SECRET), "{said}");
        }
    }

    #[test]
    fn an_old_delivery_is_told_from_a_forged_one() {
        let scheme = Scheme::Stripe { tolerance: Duration::from_secs(300) };
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_614_265_330);
        let now = then + Duration::from_secs(1_000);
        let headers = sign(&scheme, &Secret::from(SECRET), "1", b"{}", then).unwrap();
        for (secret, words) in
            [(SECRET, "with --at 1614265330 it is accepted"), ("other", "does not match either")]
        {
            let keys = Keys::new(&scheme, &[Secret::from(secret)]).unwrap();
            let delivery =
                RefusedDelivery { scheme: &scheme, headers: &headers, body: b"{}", keys: &keys, now };
            let Verification::Refused(refusal) = verify(&scheme, &headers, b"{}", &keys, now) else {
                panic!("it is old")
            };
            assert_eq!(refusal.code(), "timestamp_too_old");
            let said = diagnose(&delivery, &refusal).join("\n");
            assert!(said.contains(words), "{said}");
        }
    }
}
