use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::preset::Preset;
use crate::scheme::{Algorithm, Encoding, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use secrecy::SecretString;

use super::{Accepted, Keys, Verification, VerifyRefusal, sign, verify};

const NOW: u64 = 1_614_265_330;
const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// A seed of zeros, and its public key.
const PRIVATE: &str = "whsk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const PUBLIC: &str = "whpk_O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik=";

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn scheme(preset: Preset) -> Scheme {
    let tolerance = Duration::from_secs(300);
    match preset {
        Preset::Standard => Scheme::Standard { tolerance },
        Preset::Github => Scheme::Github,
        Preset::Stripe => Scheme::Stripe { tolerance },
        Preset::Shopify => Scheme::Shopify,
        Preset::Slack => Scheme::Slack { tolerance },
        Preset::Hmac => hmac(Encoding::Hex, "", Algorithm::Sha256),
        Preset::Bearer => Scheme::Bearer,
        Preset::Basic => Scheme::Basic,
        Preset::ApiKey => Scheme::ApiKey { header: "X-API-Key".to_owned() },
    }
}

fn hmac(encoding: Encoding, prefix: &str, algorithm: Algorithm) -> Scheme {
    Scheme::Hmac { header: "X-Signature".to_owned(), encoding, prefix: prefix.to_owned(), algorithm }
}

/// Whether a delivery contains the secret itself.
fn has_credential(scheme: &Scheme) -> bool {
    matches!(scheme, Scheme::Bearer | Scheme::Basic | Scheme::ApiKey { .. })
}

/// Every preset, and every variant of the generic one.
fn schemes() -> Vec<Scheme> {
    let mut schemes: Vec<Scheme> = Preset::ALL.map(scheme).to_vec();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512, Algorithm::Sha1] {
        schemes.push(hmac(Encoding::Base64, "v1=", algorithm));
        schemes.push(hmac(Encoding::Hex, "sha=", algorithm));
    }
    schemes
}

fn secret(scheme: &Scheme) -> &'static str {
    match scheme {
        Scheme::Standard { .. } => STANDARD_SECRET,
        Scheme::Basic => "user:pass:word",
        _ => "It's a Secret to Everybody",
    }
}

fn other_secret(scheme: &Scheme) -> &'static str {
    match scheme {
        Scheme::Standard { .. } => "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        Scheme::Basic => "user:pass:wore",
        _ => "It's a Secret to Nobody",
    }
}

fn keys(scheme: &Scheme, secrets: &[&str]) -> Keys {
    let secrets: Vec<SecretString> = secrets.iter().map(|secret| SecretString::from(*secret)).collect();
    Keys::new(scheme, &secrets).unwrap()
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        })
        .collect()
}

fn signed(scheme: &Scheme, body: &[u8], seconds: u64) -> HeaderMap {
    sign(scheme, &SecretString::from(secret(scheme)), "msg_1", body, at(seconds)).unwrap()
}

/// The result of verifying at [`NOW`] with the scheme's own secret: `accepted`, or the refusal's code.
fn code(scheme: &Scheme, headers: &HeaderMap, body: &[u8]) -> &'static str {
    code_of(verify(scheme, headers, body, &keys(scheme, &[secret(scheme)]), at(NOW)))
}

fn code_of(verification: Verification) -> &'static str {
    match verification {
        Verification::Accepted(_) => "accepted",
        Verification::Refused(refusal) => refusal.code(),
    }
}

#[test]
fn the_known_vectors_are_accepted_and_made() {
    let (github, standard, shopify) =
        (scheme(Preset::Github), scheme(Preset::Standard), scheme(Preset::Shopify));
    let standard_id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    let large = "a".repeat(262_144);
    let cases = [
        (
            &github,
            "It's a Secret to Everybody",
            "Hello, World!",
            "x-hub-signature-256",
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        ),
        (
            &github,
            "mysecret",
            r#"{"foo":"bar"}"#,
            "x-hub-signature-256",
            "sha256=4864d2759938a15468b5df9ade20bf161da9b4f737ea61794142f3484236bda3",
        ),
        (
            &standard,
            STANDARD_SECRET,
            r#"{"test": 2432232314}"#,
            "webhook-signature",
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        (
            &standard,
            STANDARD_SECRET,
            &large,
            "webhook-signature",
            "v1,Mw4Pe2WgApuT7NSqnSq0PQPV9gbLdggCl9B865x5Xh0=",
        ),
        (
            &shopify,
            "test-webhook-secret",
            r#"{"id":1234567890,"email":"customer@example.com","total_price":"123.45"}"#,
            "x-shopify-hmac-sha256",
            "QNyObTlKbMx2qDlPF/ZOZcBqg5OgPg+2oky3zldc0Gw=",
        ),
    ];
    for (scheme, secret, body, header, signature) in cases {
        let made = sign(scheme, &SecretString::from(secret), standard_id, body.as_bytes(), at(NOW)).unwrap();
        assert_eq!(made[header], signature);
        let mut sent = headers(&[(header, signature)]);
        if scheme.preset() == Preset::Standard {
            sent.extend(headers(&[("webhook-id", standard_id), ("webhook-timestamp", &NOW.to_string())]));
        }
        let verification = verify(scheme, &sent, body.as_bytes(), &keys(scheme, &[secret]), at(NOW));
        assert_eq!(code_of(verification), "accepted", "{signature}");
    }
}

#[test]
fn only_correctly_signed_deliveries_are_accepted() {
    let body = br#"{"id": "evt_1"}"#;
    for scheme in schemes() {
        let sent = signed(&scheme, body, NOW);
        assert_eq!(code(&scheme, &sent, body), "accepted", "{scheme:?}");
        assert_eq!(code(&scheme, &HeaderMap::new(), body), "missing_header", "{scheme:?}");

        let verification = verify(&scheme, &sent, body, &keys(&scheme, &[other_secret(&scheme)]), at(NOW));
        let mismatch = if has_credential(&scheme) { "wrong_credentials" } else { "no_signature_matches" };
        assert_eq!(code_of(verification), mismatch, "{scheme:?}");
        if !has_credential(&scheme) {
            assert_eq!(code(&scheme, &sent, b"{\"id\": \"evt_1\"}\n"), mismatch, "{scheme:?}");
            assert_eq!(code(&scheme, &sent, b""), mismatch, "{scheme:?}");
        }
    }
}

#[test]
fn each_header_is_required_once_and_limited_in_size() {
    let body = b"{}";
    for scheme in schemes() {
        let sent = signed(&scheme, body, NOW);
        for name in sent.keys() {
            let mut without = sent.clone();
            without.remove(name);
            assert_eq!(code(&scheme, &without, body), "missing_header", "{scheme:?} {name}");
            let mut twice = sent.clone();
            twice.append(name, sent[name].clone());
            assert_eq!(code(&scheme, &twice, body), "repeated_header", "{scheme:?} {name}");
            for (value, refusal) in
                [("", "malformed_header"), ("  ", "malformed_header"), ("ü", "malformed_header")]
            {
                let mut changed = sent.clone();
                changed.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
                assert_eq!(code(&scheme, &changed, body), refusal, "{scheme:?} {name} {value:?}");
            }
            let mut huge = sent.clone();
            huge.insert(name, HeaderValue::from_str(&"a".repeat(5_000)).unwrap());
            assert_eq!(code(&scheme, &huge, body), "oversized_header", "{scheme:?} {name}");
        }
    }
}

#[test]
fn a_truncated_signature_is_malformed_or_wrong() {
    let body = b"{}";
    for scheme in schemes() {
        let sent = signed(&scheme, body, NOW);
        for (name, value) in &sent {
            for len in 0..value.len() {
                let mut cut = sent.clone();
                cut.insert(name, HeaderValue::from_bytes(&value.as_bytes()[..len]).unwrap());
                assert_ne!(code(&scheme, &cut, body), "accepted", "{scheme:?} {name} cut to {len}");
            }
        }
    }
    let cut = headers(&[("X-Hub-Signature-256", "sha256=757107ea")]);
    assert_eq!(code(&Scheme::Github, &cut, body), "malformed_header");
}

#[test]
fn signatures_of_another_scheme_are_named_as_such() {
    let body = b"{}";
    let now = NOW.to_string();
    let stamped = |signature: &str| {
        headers(&[("webhook-id", "a"), ("webhook-timestamp", &now), ("webhook-signature", signature)])
    };
    let stripe = |value: &str| headers(&[("Stripe-Signature", value)]);
    let cases = [
        (Preset::Standard, stamped("v2,AAAA"), "unsupported_scheme"),
        (Preset::Standard, stamped("nonsense"), "unsupported_scheme"),
        (Preset::Standard, stamped("v1,AAAA"), "malformed_header"),
        (Preset::Standard, stamped("v1a,AAAA"), "malformed_header"),
        (Preset::Github, headers(&[("X-Hub-Signature-256", "sha1=00")]), "unsupported_scheme"),
        (Preset::Github, headers(&[("X-Hub-Signature", "sha1=00")]), "missing_header"),
        (Preset::Stripe, stripe(&format!("t={now},v0={}", "0".repeat(64))), "unsupported_scheme"),
        (Preset::Stripe, stripe(&format!("t={now},v1=00")), "malformed_header"),
        (Preset::Stripe, stripe(&format!("v1={}", "0".repeat(64))), "malformed_header"),
        (Preset::Stripe, stripe(&format!("t={now},t={now},v1={}", "0".repeat(64))), "malformed_header"),
        (Preset::Bearer, headers(&[("Authorization", "Basic dXNlcjpwYXNz")]), "unsupported_scheme"),
        (Preset::Bearer, headers(&[("Authorization", "Bearer")]), "unsupported_scheme"),
        (Preset::Basic, headers(&[("Authorization", "Bearer x")]), "unsupported_scheme"),
        (Preset::Basic, headers(&[("Authorization", "Basic ?")]), "malformed_header"),
        (
            Preset::Slack,
            headers(&[("X-Slack-Signature", "v1=00"), ("X-Slack-Request-Timestamp", &now)]),
            "unsupported_scheme",
        ),
    ];
    for (preset, sent, expected) in cases {
        assert_eq!(code(&scheme(preset), &sent, body), expected, "{preset} {sent:?}");
    }
}

#[test]
fn the_window_is_three_hundred_seconds_either_way() {
    let body = b"{}";
    for preset in Preset::ALL.into_iter().filter(|preset| preset.has_window()) {
        let scheme = scheme(preset);
        for (signed_at, expected) in [
            (NOW - 299, "accepted"),
            (NOW - 300, "accepted"),
            (NOW - 301, "timestamp_too_old"),
            (NOW + 299, "accepted"),
            (NOW + 300, "accepted"),
            (NOW + 301, "timestamp_in_the_future"),
            (0, "timestamp_too_old"),
            (999_999_999_999, "timestamp_in_the_future"),
        ] {
            let sent = signed(&scheme, body, signed_at);
            assert_eq!(code(&scheme, &sent, body), expected, "{preset} {signed_at}");
        }
        let sent = signed(&scheme, body, NOW);
        let accepted = verify(&scheme, &sent, body, &keys(&scheme, &[secret(&scheme)]), at(NOW));
        assert_eq!(accepted, Verification::Accepted(Accepted { signed_at: Some(NOW), secret: 0 }));
    }
    let old = signed(&scheme(Preset::Stripe), body, NOW - 301);
    let patient = Scheme::Stripe { tolerance: Duration::from_secs(301) };
    assert_eq!(code(&patient, &old, body), "accepted");
    // Schemes without a timestamp accept a delivery of any age.
    let github = signed(&Scheme::Github, body, 0);
    assert_eq!(code(&Scheme::Github, &github, body), "accepted");
}

#[test]
fn timestamps_are_whole_seconds_in_digits() {
    let scheme = scheme(Preset::Slack);
    for text in ["+1614265330", "-1", "1614265330.5", "1e9", "0x60", "1614265330000000", "now", "１６１４"]
    {
        let mut sent = signed(&scheme, b"{}", NOW);
        sent.insert("X-Slack-Request-Timestamp", HeaderValue::from_bytes(text.as_bytes()).unwrap());
        assert_eq!(code(&scheme, &sent, b"{}"), "malformed_header", "{text}");
    }
}

#[test]
fn two_live_secrets_are_both_accepted_and_distinguished() {
    for scheme in schemes() {
        let sent = signed(&scheme, b"{}", NOW);
        for (secrets, index) in
            [([secret(&scheme), other_secret(&scheme)], 0), ([other_secret(&scheme), secret(&scheme)], 1)]
        {
            let verification = verify(&scheme, &sent, b"{}", &keys(&scheme, &secrets), at(NOW));
            let Verification::Accepted(accepted) = verification else {
                panic!("{scheme:?}: {verification:?}")
            };
            assert_eq!(accepted.secret, index, "{scheme:?}");
        }
    }
}

#[test]
fn any_of_several_signatures_may_match() {
    let body = b"{}";
    let standard = scheme(Preset::Standard);
    let sent = signed(&standard, body, NOW);
    let right = sent["webhook-signature"].to_str().unwrap();
    let wrong = format!("v1,{}=", "A".repeat(43));
    for (value, expected) in [
        (format!("{wrong} {right}"), "accepted"),
        (format!("v1a,{}== v9,x nonsense {right}", "A".repeat(86)), "accepted"),
        (format!("{wrong} {wrong}"), "no_signature_matches"),
        (format!("{} {right}", vec![wrong.as_str(); 15].join(" ")), "accepted"),
        (format!("{} {right}", vec![wrong.as_str(); 16].join(" ")), "oversized_header"),
    ] {
        let mut several = sent.clone();
        several.insert("webhook-signature", HeaderValue::from_str(&value).unwrap());
        assert_eq!(code(&standard, &several, body), expected, "{value}");
    }

    let stripe = scheme(Preset::Stripe);
    let sent = signed(&stripe, body, NOW);
    let (time, right) = sent["Stripe-Signature"].to_str().unwrap().split_once(',').unwrap();
    let wrong = "0".repeat(64);
    for (value, expected) in [
        (format!("{time},v1={wrong},{right}"), "accepted"),
        (format!("{time}, {right}, v0={wrong}"), "accepted"),
        (format!("{right},{time}"), "accepted"),
        (format!("{time},v0={}", right.trim_start_matches("v1=")), "unsupported_scheme"),
        (format!("{time},{}{right}", format!("v1={wrong},").repeat(16)), "oversized_header"),
    ] {
        assert_eq!(code(&stripe, &headers(&[("Stripe-Signature", &value)]), body), expected, "{value}");
    }
}

#[test]
fn svix_names_are_an_alias_and_never_mixed_with_the_others() {
    let scheme = scheme(Preset::Standard);
    let sent = signed(&scheme, b"{}", NOW);
    let mut aliased = HeaderMap::new();
    for name in ["id", "timestamp", "signature"] {
        let alias = HeaderName::from_bytes(format!("svix-{name}").as_bytes()).unwrap();
        aliased.insert(alias, sent[format!("webhook-{name}")].clone());
    }
    assert_eq!(code(&scheme, &aliased, b"{}"), "accepted");
    // A forged id beside a genuine signature would be taken for the delivery's id.
    aliased.insert("webhook-id", HeaderValue::from_static("msg_2"));
    assert_eq!(code(&scheme, &aliased, b"{}"), "missing_header");
}

#[test]
fn ed25519_verifies_with_the_public_key() {
    let (scheme, body) = (scheme(Preset::Standard), b"{\"test\": 1}");
    let sent = sign(&scheme, &SecretString::from(PRIVATE), "msg_1", body, at(NOW)).unwrap();
    assert!(sent["webhook-signature"].to_str().unwrap().starts_with("v1a,"));
    let verification = |secrets: &[&str], body: &[u8]| {
        code_of(verify(&scheme, &sent, body, &keys(&scheme, secrets), at(NOW)))
    };
    assert_eq!(verification(&[PUBLIC], body), "accepted");
    assert_eq!(verification(&[STANDARD_SECRET, PUBLIC], body), "accepted");
    assert_eq!(verification(&[PUBLIC], b"{\"test\": 2}"), "no_signature_matches");
    assert_eq!(verification(&[STANDARD_SECRET], body), "no_signature_matches");
}

#[test]
fn headers_names_and_the_authorization_scheme_are_in_any_case() {
    let sent = headers(&[("AUTHORIZATION", "bEARER It's a Secret to Everybody")]);
    assert_eq!(code(&Scheme::Bearer, &sent, b""), "accepted");
    let configured = Scheme::ApiKey { header: "x-aPI-kEY".to_owned() };
    let sent = headers(&[("X-Api-Key", "It's a Secret to Everybody")]);
    assert_eq!(code(&configured, &sent, b""), "accepted");
}

#[test]
fn a_hexadecimal_signature_is_of_one_case() {
    let scheme = scheme(Preset::Hmac);
    let sent = signed(&scheme, b"{}", NOW);
    let lower = sent["X-Signature"].to_str().unwrap();
    let mixed = lower.replacen(|c: char| c.is_ascii_alphabetic(), "A", 1);
    for (value, expected) in [(lower.to_uppercase(), "accepted"), (mixed, "malformed_header")] {
        assert_eq!(code(&scheme, &headers(&[("X-Signature", &value)]), b"{}"), expected, "{value}");
    }
}

#[test]
fn secrets_that_a_scheme_cannot_use_are_refused_without_being_shown() {
    for (preset, bad) in [
        (Preset::Github, ""),
        (Preset::Bearer, ""),
        (Preset::Basic, "canary"),
        (Preset::Standard, "whsec_"),
        (Preset::Standard, "canary!"),
        (Preset::Standard, "whpk_AAAA"),
        (Preset::Standard, PRIVATE),
    ] {
        let error = Keys::new(
            &scheme(preset),
            &[SecretString::from(secret(&scheme(preset))), SecretString::from(bad)],
        )
        .unwrap_err();
        assert_eq!(error.index, 1);
        assert!(!error.why.contains("canary"));
    }
    assert!(sign(&scheme(Preset::Standard), &SecretString::from(PUBLIC), "1", b"", at(NOW)).is_err());
    for scheme in schemes() {
        assert!(sign(&scheme, &SecretString::from(""), "1", b"", at(NOW)).is_err(), "{scheme:?}");
        assert!(!format!("{:?}", keys(&scheme, &[secret(&scheme)])).contains("Everybody"));
    }
    assert!(sign(&Scheme::Bearer, &SecretString::from("a\nb"), "1", b"", at(NOW)).is_err());
}

#[test]
fn every_refusal_has_a_code_of_its_own_and_says_what_was_expected() {
    let header = || "H".to_owned();
    let time = Duration::from_secs(300);
    let refusals = [
        VerifyRefusal::MissingHeader { header: header() },
        VerifyRefusal::RepeatedHeader { header: header() },
        VerifyRefusal::OversizedHeader { header: header() },
        VerifyRefusal::MalformedHeader { header: header(), expected: "x" },
        VerifyRefusal::UnsupportedScheme { header: header(), expected: "x".to_owned() },
        VerifyRefusal::NoSignatureMatches { header: header() },
        VerifyRefusal::TimestampTooOld { age: time, tolerance: time },
        VerifyRefusal::TimestampInTheFuture { ahead: time, tolerance: time },
        VerifyRefusal::WrongCredentials { header: header() },
    ];
    let codes: std::collections::BTreeSet<_> = refusals.iter().map(VerifyRefusal::code).collect();
    assert_eq!(codes.len(), refusals.len());
    assert!(
        refusals
            .iter()
            .all(|refusal| refusal.to_string().contains("300 s") || refusal.to_string().contains('H'))
    );
}

fn any_scheme() -> impl Strategy<Value = Scheme> {
    prop::sample::select(schemes())
}

proptest! {
    #[test]
    fn a_flipped_bit_in_the_body_is_detected(
        scheme in any_scheme(), body in prop::collection::vec(any::<u8>(), 1..200), at in any::<prop::sample::Index>(), bit in 0_u8..8,
    ) {
        prop_assume!(!has_credential(&scheme));
        let sent = signed(&scheme, &body, NOW);
        prop_assert_eq!(code(&scheme, &sent, &body), "accepted");
        let mut changed = body.clone();
        changed[at.index(body.len())] ^= 1_u8 << bit;
        prop_assert_eq!(code(&scheme, &sent, &changed), "no_signature_matches");
    }

    #[test]
    fn a_flipped_bit_in_a_signature_or_credential_is_detected(
        scheme in any_scheme(), body in any::<Vec<u8>>(), which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0_u8..8,
    ) {
        let sent = signed(&scheme, &body, NOW);
        let name = sent.keys().nth(which.index(sent.keys_len())).unwrap().clone();
        let mut value = sent[&name].as_bytes().to_vec();
        let place = at.index(value.len());
        value[place] ^= 1_u8 << bit;
        // Invalid header values cannot be sent. The name of an authorization scheme is case-insensitive.
        let same = has_credential(&scheme) && place < 6 && bit == 5;
        if let (Ok(value), false) = (HeaderValue::from_bytes(&value), same) {
            let mut changed = sent.clone();
            changed.insert(name, value);
            prop_assert_ne!(code(&scheme, &changed, &body), "accepted");
        }
    }

    #[test]
    fn no_header_and_no_body_makes_it_panic(
        scheme in any_scheme(), values in prop::collection::vec(any::<Vec<u8>>(), 6), body in any::<Vec<u8>>(), now in any::<u32>(),
    ) {
        let names = ["webhook-id", "webhook-timestamp", "webhook-signature", "svix-id", "svix-signature", "stripe-signature",
            "x-hub-signature-256", "x-shopify-hmac-sha256", "x-slack-signature", "x-slack-request-timestamp", "authorization",
            "x-api-key", "x-signature"];
        let mut sent = HeaderMap::new();
        for (name, value) in names.iter().zip(values.iter().cycle()) {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                sent.append(*name, value);
            }
        }
        let verification = verify(&scheme, &sent, &body, &keys(&scheme, &[secret(&scheme)]), at(now.into()));
        prop_assert_ne!(code_of(verification), "accepted");
    }

    #[test]
    fn no_almost_right_header_makes_it_panic(
        scheme in any_scheme(), value in "(v0|v1|v1a|t|sha256|Basic|Bearer)?[,= ]{0,2}[0-9a-fA-F+/=]{0,90}([, ](v1|t)[=,][0-9]{0,22})?",
    ) {
        let mut sent = signed(&scheme, b"{}", NOW);
        for name in sent.clone().keys() {
            sent.insert(name, HeaderValue::from_str(&value).unwrap());
        }
        prop_assert_ne!(code(&scheme, &sent, b"{}"), "accepted");
    }
}
