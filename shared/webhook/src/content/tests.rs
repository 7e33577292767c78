use http::{HeaderName, HeaderValue};
use proptest::prelude::*;
use serde_json::{Value, json};

use std::borrow::Cow;

use super::*;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    pairs.iter().map(pair).collect()
}

const OPTIONS: BodyOptions<'_> =
    BodyOptions { content: Content::Auto, records: None, invalid_characters: InvalidCharacters::Reject };
const REPLACE: BodyOptions<'_> = BodyOptions { invalid_characters: InvalidCharacters::Replace, ..OPTIONS };

fn read<'b>(content_type: &str, body: &'b [u8]) -> Result<Parsed<'b>, BodyError> {
    parse(&headers(&[("Content-Type", content_type)]), body, OPTIONS)
}

fn texts<'p>(parsed: &'p Parsed<'_>) -> Vec<&'p str> {
    assert_eq!(parsed.rejects, []);
    parsed.records.iter().map(|record| record.json.as_ref()).collect()
}

fn values(parsed: &Parsed<'_>) -> Vec<Value> {
    texts(parsed).into_iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

fn is_unsupported(result: Result<Parsed<'_>, BodyError>) -> bool {
    matches!(result.expect_err("an error"), BodyError::Unsupported(_))
}

fn is_malformed(result: Result<Parsed<'_>, BodyError>) -> bool {
    matches!(result.expect_err("an error"), BodyError::Malformed(_))
}

const JSON: &str = "application/json";

#[test]
fn records_keep_the_text_they_came_with() {
    for (body, expected) in [
        (r#"{"b":1,"a":2,"b":3}"#, &[r#"{"b":1,"a":2,"b":3}"#][..]),
        (" {\"a\" :\t1.10} \r\n", &["{\"a\" :\t1.10}"]),
        (
            "[12345678901234567890.123456789012345678901234567890]",
            &["12345678901234567890.123456789012345678901234567890"],
        ),
        (r#" [ {"a":1} , [2] ,"x", null ] "#, &[r#"{"a":1}"#, "[2]", r#""x""#, "null"]),
        ("[]", &[]),
        ("{}", &["{}"]),
        ("7", &["7"]),
        ("\u{feff}{\"a\":1}", &[r#"{"a":1}"#]),
        ("{\"\u{e9}\":\"\u{1f600}\\ud83d\\ude00\"}", &["{\"\u{e9}\":\"\u{1f600}\\ud83d\\ude00\"}"]),
    ] {
        let parsed = read(JSON, body.as_bytes()).unwrap();
        assert_eq!(texts(&parsed), expected, "{body}");
        assert!(parsed.records.iter().all(|record| matches!(record.json, Cow::Borrowed(_))), "{body}");
        assert_eq!(parsed.document, body.trim_start_matches('\u{feff}').as_bytes());
    }
}

#[test]
fn content_type_says_what_a_body_is() {
    let lines = b"{\"a\":1}\n[2]\n";
    for content_type in [
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "APPLICATION/X-NDJSON; charset=utf-8",
    ] {
        assert_eq!(texts(&read(content_type, lines).unwrap()), [r#"{"a":1}"#, "[2]"], "{content_type}");
    }
    for content_type in [
        JSON,
        "Application/JSON;charset=UTF-8",
        "application/vnd.github+json",
        "text/json",
        "text/plain",
        "application/octet-stream",
        "",
        // The type that curl sends by default.
        "application/x-www-form-urlencoded",
    ] {
        assert_eq!(texts(&read(content_type, b"{\"a\":1}").unwrap()), [r#"{"a":1}"#], "{content_type}");
    }
    assert_eq!(texts(&parse(&HeaderMap::new(), b"[1]", OPTIONS).unwrap()), ["1"]);
    for content_type in [
        "text/xml",
        "multipart/form-data; boundary=x",
        "image/png",
        "application/cloudevents+avro",
        "nonsense",
        "\u{e9}",
    ] {
        assert!(is_unsupported(read(content_type, b"{\"a\":1}")), "{content_type}");
    }
    let compressed = headers(&[("content-type", JSON), ("content-encoding", "gzip")]);
    assert!(is_unsupported(parse(&compressed, b"{}", OPTIONS)));
    let identity = headers(&[("content-encoding", "Identity")]);
    assert_eq!(texts(&parse(&identity, b"{}", OPTIONS).unwrap()), ["{}"]);
}

#[test]
fn the_configuration_wins_over_content_type() {
    let xml = headers(&[("content-type", "text/xml")]);
    for (content, body, expected) in [
        (Content::Json, "[1]", &["1"][..]),
        (Content::Ndjson, "[1]\n2", &["[1]", "2"]),
        (Content::Form, "a=1", &[r#"{"a":"1"}"#]),
    ] {
        let parsed = parse(&xml, body.as_bytes(), BodyOptions { content, ..OPTIONS }).unwrap();
        assert_eq!(texts(&parsed), expected);
    }
    assert!(is_unsupported(parse(&xml, b"[1]", BodyOptions { content: Content::Cloudevents, ..OPTIONS })));
    let json = headers(&[("content-type", JSON)]);
    let events = BodyOptions { content: Content::Cloudevents, ..OPTIONS };
    assert_eq!(texts(&parse(&json, b"[{\"id\":\"1\"}]", events).unwrap()), [r#"{"id":"1"}"#]);
}

#[test]
fn invalid_json_is_refused_with_its_position_and_without_its_text() {
    for (body, place) in [
        ("canary", "a value was expected at byte 0"),
        (r#"{"a":canary}"#, "a value was expected at byte 5"),
        (r#"{"a":"canary"#, "a string that does not end at byte 12"),
        (r#"{"a":1} canary"#, "there is more after the value at byte 8"),
        ("[{}", "the text ends before its value does at byte 3"),
        ("\u{feff}{\"a\":canary}", "a value was expected at byte 8"),
        ("{\"a\":\"can\0ary\"}", "a control character that is not escaped at byte 9"),
    ] {
        let error = read(JSON, body.as_bytes()).expect_err(body);
        assert_eq!(error, BodyError::malformed(format!("The body is not JSON: {place}.")), "{body}");
    }
    let utf_16: Vec<u8> = "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(is_malformed(read(JSON, &utf_16)));
    for empty in ["", " \r\n", "\u{feff}", "\u{feff}\n"] {
        for content_type in [JSON, "application/x-ndjson", "application/x-www-form-urlencoded"] {
            assert_eq!(read(content_type, empty.as_bytes()).unwrap_err(), BodyError::Empty);
        }
    }
}

#[test]
fn a_malformed_line_is_reported_and_blank_lines_are_skipped() {
    let parsed = read("application/x-ndjson", b"\xef\xbb\xbf\n{\"a\":1}\r\n\n \t\n  2  \n3").unwrap();
    assert_eq!(texts(&parsed), [r#"{"a":1}"#, "2", "3"]);
    assert_eq!(&*parsed.document, br#"{"a":1}"#);
    for (body, detail) in [
        ("1\n{\"a\":canary}\n", "Line 2 is not JSON: a value was expected, at byte 6 of it."),
        ("1\n\n1 2", "Line 3 is not JSON: there is more after the value, at byte 3 of it."),
        ("{\"a\":\n1}", "Line 1 is not JSON: the text ends before its value does, at byte 6 of it."),
    ] {
        assert_eq!(read("application/x-ndjson", body.as_bytes()).unwrap_err().to_string(), detail);
    }
}

#[test]
fn a_pointer_names_the_records() {
    let pointer = JsonPointer::parse("/data/items").unwrap();
    let options = BodyOptions { records: Some(&pointer), ..OPTIONS };
    for (body, expected) in [
        (r#"{"data":{"items":[1, {"a":2}]},"more":[3]}"#, &["1", r#"{"a":2}"#][..]),
        (r#"{"data":{"items":[]}}"#, &[]),
        // Without such an array the records are the same as without a pointer.
        (r#"{"ping":true}"#, &[r#"{"ping":true}"#]),
        (r#"{"data":{"items":{"a":1}}}"#, &[r#"{"data":{"items":{"a":1}}}"#]),
        ("[1,2]", &["1", "2"]),
        ("\u{feff}{\"data\":{\"items\":[\"x\"]}}", &["\"x\""]),
    ] {
        let parsed = parse(&HeaderMap::new(), body.as_bytes(), options).unwrap();
        assert_eq!(texts(&parsed), expected, "{body}");
    }
    let trailing = parse(&HeaderMap::new(), br#"{"data":{"items":[1]}} x"#, options).unwrap_err();
    assert_eq!(trailing.to_string(), "The body is not JSON: there is more after the value at byte 23.");
    let form = headers(&[("content-type", "application/x-www-form-urlencoded")]);
    let parsed = parse(&form, b"payload={%22data%22:{%22items%22:[1,2]}}", options).unwrap();
    assert_eq!(texts(&parsed), ["1", "2"]);
}

#[test]
fn a_form_is_an_object_of_strings() {
    let form = "application/x-www-form-urlencoded";
    for (body, expected) in [
        (
            "token=x&command=%2Fweather&text=94070+now&empty=&flag",
            json!({ "token": "x", "command": "/weather", "text": "94070 now", "empty": "", "flag": "" }),
        ),
        ("a=1&b=2&a=3&&a=1", json!({ "a": ["1", "3", "1"], "b": "2" })),
        ("a=%22%5C%0A&%C3%A9=%2B1%3D2=3", json!({ "a": "\"\\\n", "\u{e9}": "+1=2=3" })),
        ("a=%zz%", json!({ "a": "%zz%" })),
        // Slack's interactive messages, and forms that only resemble them.
        ("payload=%7B%22type%22%3A%22block_actions%22%7D", json!({ "type": "block_actions" })),
        ("payload=%7B%22a%22&b=1", json!({ "payload": "{\"a\"", "b": "1" })),
        ("payload=%7B%7D&b=1", json!({ "payload": "{}", "b": "1" })),
        ("payload=7", json!({ "payload": "7" })),
        ("payload=%7Bbroken", json!({ "payload": "{broken" })),
        ("payload={}&payload={}", json!({ "payload": ["{}", "{}"] })),
        ("{broken", json!({ "{broken": "" })),
    ] {
        let parsed = read(form, body.as_bytes()).unwrap();
        assert_eq!(values(&parsed), [expected], "{body}");
        assert_eq!(*parsed.document, *parsed.records[0].json.as_bytes());
    }
    let parsed = read(form, b"payload=[1.10,{}]").unwrap();
    assert_eq!(texts(&parsed), ["1.10", "{}"]);
    for (body, code) in [
        ("a=%00", RejectCode::NulCharacter),
        ("a=%FF", RejectCode::InvalidUtf8),
        ("payload={%22a%22:%22%5Cud800%22}", RejectCode::LoneSurrogate),
    ] {
        assert_eq!(read(form, body.as_bytes()).unwrap().rejects[0].code, code);
    }
}

#[test]
fn cloudevents_are_the_same_record_in_every_mode() {
    let event = json!({
        "specversion": "1.0", "id": "A 1", "source": "/s", "type": "t.v1", "traceparent": "x\u{e9}",
        "datacontenttype": "application/json", "data": { "n": 1 },
    });
    let body = event.to_string();
    let structured = read("application/cloudevents+json; charset=utf-8", body.as_bytes()).unwrap();
    assert_eq!(texts(&structured), [body.as_str()]);
    let batch = format!("[{body},{body}]");
    let batch = read("application/cloudevents-batch+json", batch.as_bytes()).unwrap();
    assert_eq!(texts(&batch), [body.as_str(), body.as_str()]);

    let attributes = [
        ("Ce-Specversion", "1.0"),
        ("ce-id", "A%201"),
        ("ce-source", "/s"),
        ("ce-type", "\"t.v1\""),
        ("ce-traceparent", "x%C3%A9"),
        ("ce-data", "x"),
        ("x-other", "x"),
    ];
    let mut binary = headers(&attributes);
    binary.insert("content-type", HeaderValue::from_static("application/json"));
    let parsed = parse(&binary, b"{\"n\":1}", OPTIONS).unwrap();
    assert_eq!(values(&parsed), [event]);
    assert_eq!(*parsed.document, *parsed.records[0].json.as_bytes());

    for (content_type, body, member, data) in [
        ("text/plain", &b"h\xc3\xa9\n"[..], "data", json!("h\u{e9}\n")),
        ("image/png", b"\xff\x00", "data_base64", json!("/wA=")),
        ("text/plain", b"\xff", "data_base64", json!("/w==")),
        ("application/vnd.x+json", b"[1]", "data", json!([1])),
    ] {
        binary.insert("content-type", HeaderValue::from_str(content_type).unwrap());
        let parsed = parse(&binary, body, OPTIONS).unwrap();
        assert_eq!(values(&parsed)[0][member], data, "{content_type}");
    }
    let parsed = parse(&binary, b"", OPTIONS).unwrap();
    assert_eq!(values(&parsed)[0].get("data"), None);
}

#[test]
fn invalid_cloudevents_are_refused() {
    for (content_type, body) in [
        ("application/cloudevents+json", "[]"),
        ("application/cloudevents+json", "{"),
        ("application/cloudevents-batch+json", "{}"),
        ("application/cloudevents-batch+json", "[1]"),
        ("application/cloudevents-batch+json", "[{}"),
    ] {
        assert!(is_malformed(read(content_type, body.as_bytes())), "{body}");
    }
    let required = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "s"), ("ce-type", "t")];
    for missing in 1..4 {
        let mut some = required.to_vec();
        some.remove(missing);
        assert!(is_malformed(parse(&headers(&some), b"{}", OPTIONS)), "{missing}");
    }
    // The body is `data` and cannot add attributes.
    for body in [&br#"1,"id":"2""#[..], b"{}}", b"{", b" "] {
        assert!(is_malformed(parse(&headers(&required), body, OPTIONS)));
    }
}

#[test]
fn a_record_that_jsonb_refuses_is_a_reject_and_the_rest_is_kept() {
    let deep = format!("{}{}", "[".repeat(1_001), "]".repeat(1_001));
    let body = format!(
        "[1,\n\"\\u0000\",\n2,{{\"k\":\"\\udc00\"}},1e400,1e401,{deep},{{\"a\\u0000\":1}},\"\u{e9}\",3]"
    );
    let parsed = read(JSON, body.as_bytes()).unwrap();
    let records: Vec<&str> = parsed.records.iter().map(|record| record.json.as_ref()).collect();
    assert_eq!(records, ["1", "2", "1e400", "\"\u{e9}\"", "3"]);
    let rejects: Vec<(RejectCode, u64, u64, &str)> = parsed
        .rejects
        .iter()
        .map(|reject| {
            let raw = std::str::from_utf8(&reject.raw).unwrap();
            assert_eq!(&body[reject.position.offset as usize..][..raw.len()], raw);
            (reject.code, reject.position.record, reject.position.line, raw)
        })
        .collect();
    assert_eq!(
        rejects,
        [
            (RejectCode::NulCharacter, 1, 2, "\"\\u0000\""),
            (RejectCode::LoneSurrogate, 3, 3, "{\"k\":\"\\udc00\"}"),
            (RejectCode::NumberOutOfRange, 5, 3, "1e401"),
            (RejectCode::NestedTooDeep, 6, 3, deep.as_str()),
            (RejectCode::NulCharacter, 7, 3, "{\"a\\u0000\":1}"),
        ]
    );
    assert_eq!(
        parsed.rejects[0].reason,
        "a NUL character, which PostgreSQL cannot store, at byte 5 of the body"
    );
}

#[test]
fn characters_are_replaced_where_the_source_says_so_and_the_original_is_kept() {
    let body = b"[\"a\\u0000\",\"\\ud800\",{\"k\xff\":\"\\u0000\"},1e999,[\"\\u0000\",1e999],\"fine\"]";
    let parsed = parse(&HeaderMap::new(), body, REPLACE).unwrap();
    type Taken<'a> = (&'a str, Option<(&'a str, &'a [u8])>);
    let records: Vec<Taken<'_>> = parsed
        .records
        .iter()
        .map(|record| {
            let repair = record.repair.as_ref().map(|repair| (repair.rule, repair.raw.as_ref()));
            (record.json.as_ref(), repair)
        })
        .collect();
    assert_eq!(
        records,
        [
            (r#""a\ufffd""#, Some(("nul_replaced", &b"\"a\\u0000\""[..]))),
            (r#""\ufffd""#, Some(("lone_surrogate_replaced", b"\"\\ud800\""))),
            ("{\"k\u{fffd}\":\"\\ufffd\"}", Some(("invalid_utf8_replaced", b"{\"k\xff\":\"\\u0000\"}"))),
            (r#""fine""#, None),
        ]
    );
    let rejects: Vec<(RejectCode, u64)> =
        parsed.rejects.iter().map(|reject| (reject.code, reject.position.record)).collect();
    assert_eq!(rejects, [(RejectCode::NumberOutOfRange, 3), (RejectCode::NumberOutOfRange, 4)]);
}

#[test]
fn bytes_that_are_not_utf_8_reject_only_their_record() {
    let parsed =
        read("application/x-ndjson", b"{\"a\":1}\n{\"a\":\"caf\xe9\"}\n{\"a\":\"\xc3\xa9\"}").unwrap();
    assert_eq!(parsed.records.len(), 2);
    let reject = &parsed.rejects[0];
    assert_eq!(
        (reject.code, reject.position),
        (RejectCode::InvalidUtf8, BodyPosition { record: 1, line: 2, offset: 8 })
    );
    assert_eq!(reject.reason, "bytes that are not UTF-8, at byte 17 of the body");
    assert_eq!(*reject.raw, b"{\"a\":\"caf\xe9\"}"[..]);
    // Overlong forms and encoded surrogates are also not UTF-8.
    for bytes in [&b"\"\xc0\x80\""[..], b"\"\xed\xa0\x80\"", b"\"\xf4\x90\x80\x80\""] {
        assert_eq!(read(JSON, bytes).unwrap().rejects[0].code, RejectCode::InvalidUtf8);
    }
}

/// JSON of every kind, with special characters.
fn any_json() -> impl Strategy<Value = Value> {
    let text = "[a\"\\\\/\n\t\u{1}é\u{1f600}\u{fffd} &=%+]{0,6}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e15..1e15).prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((text, inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_headers() -> impl Strategy<Value = HeaderMap> {
    let name = prop::sample::select(vec![
        "content-type",
        "content-encoding",
        "ce-specversion",
        "ce-id",
        "ce-source",
        "ce-type",
        "ce-",
        "ce-x",
        "ce-data",
    ]);
    let value = prop_oneof![
        prop::sample::select(vec![
            JSON,
            "application/x-ndjson",
            "application/x-www-form-urlencoded",
            "application/cloudevents+json",
            "application/cloudevents-batch+json",
            "text/plain",
            "image/png",
            "identity",
        ])
        .prop_map(HeaderValue::from_static),
        prop::collection::vec(0x20_u8..=0xff, 0..8)
            .prop_filter_map("not a value", |bytes| HeaderValue::from_bytes(&bytes).ok()),
    ];
    prop::collection::vec((name, value), 0..8).prop_map(|pairs| {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value);
        }
        headers
    })
}

fn nearly_a_body() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\n",
            "\"a\":",
            "\"\\u0000\"",
            "\"\\ud800\"",
            "1",
            "1e999",
            "payload=",
            "a=1",
            "&",
            "%",
            "%00",
            "%7B%7D",
            "{\"a\":1}",
            "\u{feff}",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_json_is_stored_as_the_value_it_is(value in any_json(), pretty: bool) {
        let body = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
        let parsed = read(JSON, &body).unwrap();
        // The parser of the tests rounds some numbers, always in the same way.
        let value: Value = serde_json::from_slice(&body).unwrap();
        let expected = match value.clone() {
            Value::Array(elements) => elements,
            other => vec![other],
        };
        prop_assert_eq!(values(&parsed), expected);
        // The same values as lines: each line is one record.
        let line = value.to_string();
        let lines = format!("{line}\n{line}");
        let value: Value = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(values(&read("application/x-ndjson", lines.as_bytes()).unwrap()), [value.clone(), value]);
    }

    #[test]
    fn any_form_is_the_object_it_should_be(value in any::<String>().prop_filter("stored", |text| !text.contains('\0'))) {
        let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let body = format!("a={encoded}&b={encoded}");
        let parsed = read("application/x-www-form-urlencoded", body.as_bytes()).unwrap();
        prop_assert_eq!(values(&parsed), [json!({ "a": value, "b": value })]);
    }

    #[test]
    fn any_body_under_any_headers_is_read_or_refused(
        headers in any_headers(), body in nearly_a_body(), replace: bool,
        content in prop::sample::select(vec![
            Content::Auto, Content::Json, Content::Ndjson, Content::Form, Content::Cloudevents,
        ]),
        pointer in prop::option::of(prop::sample::select(vec!["/a", "/0", "/"])),
    ) {
        let pointer = pointer.map(|text| JsonPointer::parse(text).unwrap());
        let invalid_characters = if replace { InvalidCharacters::Replace } else { InvalidCharacters::Reject };
        let options = BodyOptions { content, records: pointer.as_ref(), invalid_characters };
        match parse(&headers, &body, options) {
            Ok(parsed) => {
                for record in &parsed.records {
                    prop_assert!(millrace_jsonb::is_json(record.json.as_bytes()), "{}", record.json);
                }
                let mut numbers: Vec<u64> = parsed.rejects.iter().map(|reject| reject.position.record).collect();
                let total = (parsed.records.len() + parsed.rejects.len()) as u64;
                numbers.dedup();
                prop_assert_eq!(numbers.len(), parsed.rejects.len());
                prop_assert!(numbers.iter().all(|number| *number < total));
            }
            Err(error) => {
                let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&body);
                prop_assert!(error != BodyError::Empty || text.trim_ascii().is_empty());
            }
        }
    }
}
