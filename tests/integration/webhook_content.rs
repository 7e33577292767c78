//! Compares what the webhook function stores as jsonb with a real PostgreSQL.

use http::HeaderMap;
use millrace::config::csv::InvalidCharacters;
use millrace_jsonb::{MAX_DEPTH, MAX_FRACTION_DIGITS, MAX_INTEGER_DIGITS};
use millrace_tests::postgres::Database;
use millrace_webhook::Content;
use millrace_webhook::content::{BodyOptions, Parsed, parse};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tokio_postgres::Client;

/// One value per body: an array would be several records.
fn read(text: &str, invalid_characters: InvalidCharacters) -> Option<Parsed<'_>> {
    let options = BodyOptions { content: Content::Ndjson, records: None, invalid_characters };
    parse(&HeaderMap::new(), text.as_bytes(), options).ok()
}

/// The SQLSTATE of PostgreSQL's refusal, or its text form of `text`.
async fn jsonb(client: &Client, text: &str) -> Result<String, String> {
    match client.query_one("select ($1::text::jsonb)::text", &[&text]).await {
        Ok(row) => Ok(row.get(0)),
        Err(error) => Err(error.code().expect("an error of the server").code().to_owned()),
    }
}

/// Why a text is not stored, by the function and by PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verification {
    Stored,
    /// Not JSON: 400.
    Malformed,
    /// A reject that PostgreSQL also refuses.
    Refused(&'static str, &'static str),
    /// A reject that PostgreSQL accepts at a high cost.
    Bounded(&'static str),
}

fn hand_picked() -> Vec<(String, Verification)> {
    use Verification::{Bounded, Malformed, Refused, Stored};
    let digits = |count: i64| "7".repeat(usize::try_from(count).unwrap());
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    let nul = Refused("nul_character", "22P05");
    let surrogate = Refused("lone_surrogate", "22P02");
    let number = Refused("number_out_of_range", "22003");
    [
        (r#"{"a":[1,2.50,-0,true,null,"x"],"a":{}}"#, Stored),
        (r#""\u0001\u001f\u007f\uffff\ufffe\ufdd0""#, Stored),
        ("\"\u{7f}\u{ffff}\u{10ffff}\"", Stored),
        (r#""\ud83d\ude00\udbff\udfff""#, Stored),
        (r#""\/\b\f\n\r\t\"\\""#, Stored),
        (r#""\\u0000""#, Stored),
        ("12345678901234567890123456789.01234567890123456789", Stored),
        ("-0.0", Stored),
        ("1e400", Stored),
        ("1.5E-400", Stored),
        ("\t[ 1 ,\r2 ] ", Stored),
        ("", Malformed),
        ("NaN", Malformed),
        ("Infinity", Malformed),
        ("01", Malformed),
        ("1.", Malformed),
        ("{\"a\":1,}", Malformed),
        ("[1}", Malformed),
        ("'a'", Malformed),
        ("\"\u{1}\"", Malformed),
        ("\"\\x41\"", Malformed),
        ("\"\\u00g0\"", Malformed),
        ("{} {}", Malformed),
        ("\u{a0}1", Malformed),
        (r#""\u0000""#, nul),
        (r#"{"\u0000":1}"#, nul),
        (r#""\ud800""#, surrogate),
        (r#""\udc00""#, surrogate),
        (r#""\ud800\ud800\udc00""#, surrogate),
        (r#"["\ud800x"]"#, surrogate),
        (r#""\udbff\u0041""#, surrogate),
        ("1e131072", number),
        ("1e-16384", number),
        ("1e131071", Bounded("number_out_of_range")),
        ("1e401", Bounded("number_out_of_range")),
        ("0e401", Bounded("number_out_of_range")),
    ]
    .map(|(text, verification)| (text.to_owned(), verification))
    .into_iter()
    .chain([
        (digits(MAX_INTEGER_DIGITS), Stored),
        (digits(MAX_INTEGER_DIGITS + 1), number),
        (format!("{}e1", digits(MAX_INTEGER_DIGITS)), number),
        (format!("{}e-400", digits(MAX_INTEGER_DIGITS)), Stored),
        (format!("{}e-400", digits(MAX_INTEGER_DIGITS + 400)), Stored),
        (format!("0.{}", digits(MAX_FRACTION_DIGITS)), Stored),
        (format!("0.{}", digits(MAX_FRACTION_DIGITS + 1)), number),
        (format!("0.{}e1", digits(MAX_FRACTION_DIGITS + 1)), Stored),
        (format!("0.{}e-1", digits(MAX_FRACTION_DIGITS)), number),
        (nested(MAX_DEPTH), Stored),
        (objects(MAX_DEPTH), Stored),
        (nested(MAX_DEPTH + 1), Bounded("nested_too_deep")),
        (nested(200_000), Refused("nested_too_deep", "54001")),
    ])
    .collect()
}

#[tokio::test]
async fn the_function_stores_and_rejects_what_postgres_accepts_and_refuses() {
    let database = Database::empty().await;
    let client = database.owner().await;
    for (text, verification) in hand_picked() {
        let shown: String = text.chars().take(60).collect();
        let theirs = jsonb(&client, &text).await;
        let ours = read(&text, InvalidCharacters::Reject);
        let code = ours.as_ref().and_then(|parsed| parsed.rejects.first()).map(|reject| reject.code.name());
        match verification {
            Verification::Stored => {
                let parsed = ours.expect(&shown);
                assert_eq!((parsed.records.len(), code), (1, None), "{shown}");
                assert_eq!(parsed.records[0].json, text.trim_ascii(), "{shown}");
                theirs.expect(&shown);
            }
            Verification::Malformed => {
                assert_eq!(ours, None, "{shown}");
                assert_eq!(theirs.expect_err(&shown), "22P02", "{shown}");
            }
            Verification::Refused(expected, sqlstate) => {
                assert_eq!(code, Some(expected), "{shown}");
                assert_eq!(theirs.expect_err(&shown), sqlstate, "{shown}");
            }
            Verification::Bounded(expected) => {
                assert_eq!(code, Some(expected), "{shown}");
                theirs.expect(&shown);
            }
        }
    }
}

/// JSON or nearly JSON, made of the parts that can make a difference.
fn texts() -> impl Strategy<Value = String> {
    let string = prop::collection::vec(
        prop::sample::select(vec![
            "a",
            "\u{e9}",
            "\u{1f600}",
            "\u{ffff}",
            "\\n",
            "\\\\",
            "\\\"",
            "\\/",
            "\\u0000",
            "\\u0041",
            "\\uD83D",
            "\\ude00",
            "\\ud800",
            "\\udfff",
            "\\x",
            "\\u12",
            "\u{1}",
            "\u{7f}",
        ]),
        0..5,
    )
    .prop_map(|pieces| format!("\"{}\"", pieces.concat()));
    let number = ("-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?", prop::option::of("[eE][+-]?[0-9]{1,3}"))
        .prop_map(|(digits, exponent)| digits + &exponent.unwrap_or_default());
    let odd =
        prop::sample::select(vec!["true", "false", "null", "nul", "01", "1.", "-", "+1", ".5", "{", "]", ""]);
    let leaf = prop_oneof![6 => string.clone(), 4 => number, 1 => odd.prop_map(str::to_owned)];
    leaf.prop_recursive(4, 20, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|values| format!("[{}]", values.join(" , "))),
            prop::collection::vec((string.clone(), inner), 0..4).prop_map(|members| {
                let members: Vec<String> =
                    members.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

#[tokio::test]
async fn generated_values_are_stored_exactly_when_postgres_takes_them() {
    let database = Database::empty().await;
    let client = database.owner().await;
    let strategy = texts();
    let mut runner = TestRunner::default();
    let (mut stored, mut rejected, mut malformed, mut repaired) = (0, 0, 0, 0);
    for _ in 0..3_000 {
        let text = strategy.new_tree(&mut runner).expect("a value").current();
        let theirs = jsonb(&client, &text).await;
        let Some(parsed) = read(&text, InvalidCharacters::Reject) else {
            malformed += 1;
            // PostgreSQL reports the first error, which may be a NUL.
            let sqlstate = theirs.expect_err(&text);
            assert!(matches!(sqlstate.as_str(), "22P02" | "22P05"), "{sqlstate}: {text}");
            continue;
        };
        match (&parsed.records[..], &parsed.rejects[..]) {
            ([record], []) => {
                stored += 1;
                let ours = jsonb(&client, &record.json).await;
                assert_eq!((ours.is_ok(), &ours), (true, &theirs), "{text}");
            }
            ([], [reject]) => {
                rejected += 1;
                match reject.code.name() {
                    // Exponents above the function's limit are within PostgreSQL's.
                    "number_out_of_range" => {}
                    code => {
                        let sqlstate = if code == "nul_character" { "22P05" } else { "22P02" };
                        assert_eq!(theirs.expect_err(&text), sqlstate, "{text}");
                    }
                }
            }
            other => panic!("{text}: {other:?}"),
        }
        // Where characters are replaced, the result is stored.
        let replaced = read(&text, InvalidCharacters::Replace).expect("JSON is JSON");
        for record in &replaced.records {
            repaired += usize::from(record.repair.is_some());
            jsonb(&client, &record.json).await.expect(&text);
        }
    }
    // The test is worthless if the generated values are all alike.
    for count in [stored, rejected, malformed, repaired] {
        assert!(
            count > 50,
            "{stored} stored, {rejected} rejected, {malformed} malformed, {repaired} repaired"
        );
    }
}
