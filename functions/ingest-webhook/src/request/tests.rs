use millrace::Code;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// HTTP API and function URL: payload format 2.0.
fn version_2(method: &str, path: &str) -> Value {
    json!({
        "version": "2.0",
        "routeKey": "POST /webhooks/{source}",
        "rawPath": path,
        "rawQueryString": "a=1&b=x%20y+z&a=2&flag",
        "cookies": ["s=1"],
        "headers": { "x-github-event": "push", "content-type": "application/json", "x-list": "1,2" },
        "queryStringParameters": { "a": "1,2" },
        "requestContext": {
            "accountId": "123456789012",
            "http": {
                "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "c"
            },
            "requestId": "r-2",
            "stage": "$default",
            "timeEpoch": 1_583_348_638_390_u64
        },
        "pathParameters": { "source": "github" },
        "body": "{\"a\":1}",
        "isBase64Encoded": false
    })
}

/// REST API: payload format 1.0.
fn version_1(method: &str, path: &str) -> Value {
    json!({
        "resource": "/webhooks/{source}",
        "path": path,
        "httpMethod": method,
        "headers": { "X-GitHub-Event": "push", "Content-Type": "application/json", "X-List": "2", "X-Single": "s" },
        "multiValueHeaders": {
            "X-GitHub-Event": ["push"], "Content-Type": ["application/json"], "X-List": ["1", "2"]
        },
        "queryStringParameters": { "a": "2" },
        "multiValueQueryStringParameters": { "a": ["1", "2"] },
        "pathParameters": { "source": "github" },
        "stageVariables": null,
        "requestContext": {
            "requestId": "r-1",
            "identity": { "sourceIp": "192.0.2.1", "userAgent": "c", "cognitoIdentityId": null },
            "httpMethod": method,
            "stage": "prod"
        },
        "body": "{\"a\":1}",
        "isBase64Encoded": false
    })
}

fn read(event: &Value) -> Result<Request, RequestRefusal> {
    let EventPayload(event) = serde_json::from_str(&event.to_string())
        .map_err(|error| RequestRefusal::NotARequest(not_a_request(error)))?;
    Request::from_event(event, MAX_BODY_BYTES)
}

fn problem(event: &Value) -> ProblemKind {
    match read(event) {
        Err(RequestRefusal::Problem { problem, .. }) => problem.kind,
        other => panic!("{other:?}"),
    }
}

fn values<'r>(request: &'r Request, name: &str) -> Vec<&'r str> {
    request.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

#[test]
fn both_formats_are_the_same_request() {
    let second = read(&version_2("POST", "/webhooks/github")).unwrap();
    let first = read(&version_1("POST", "/webhooks/github")).unwrap();
    for (request, id) in [(&second, "r-2"), (&first, "r-1")] {
        assert_eq!(request.source, "github");
        assert_eq!(request.body, r#"{"a":1}"#);
        assert_eq!(request.request_id.as_deref(), Some(id));
        assert_eq!(values(request, "X-GITHUB-Event"), ["push"]);
        assert_eq!(values(request, "absent"), [""; 0]);
    }
    assert_eq!(values(&second, "x-list"), ["1,2"]);
    assert_eq!(values(&first, "x-list"), ["1", "2"]);
    assert_eq!(values(&first, "x-single"), ["s"]);
}

#[test]
fn the_source_is_the_last_part_of_the_path() {
    for (path, source) in [
        ("/webhooks/github", Some("github")),
        ("/webhooks/github/", Some("github")),
        ("/prod/webhooks/github", Some("github")),
        ("/webhooks/a%2Eb", Some("a.b")),
        ("/webhooks/a%2Fb", Some("a/b")),
        ("/webhooks/webhooks", Some("webhooks")),
        ("/webhooks/a+b", Some("a+b")),
        ("/webhooks/%FF", None),
        ("/webhooks", None),
        ("/webhooks/", None),
        ("/webhooks//", None),
        ("/webhooks/a//", None),
        ("/webhooks/a/b", None),
        ("//webhooks/a", None),
        ("/a/b/webhooks/c", None),
        ("/Webhooks/a", None),
        ("webhooks/a", None),
        ("/", None),
        ("", None),
    ] {
        for event in [version_1("POST", path), version_2("POST", path)] {
            match source {
                Some(source) => assert_eq!(read(&event).unwrap().source, source, "{path}"),
                None => assert_eq!(problem(&event), ProblemKind::UnknownPath, "{path}"),
            }
        }
    }
}

#[test]
fn only_post_is_taken() {
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "post", ""] {
        for event in [version_1(method, "/webhooks/a"), version_2(method, "/webhooks/a")] {
            assert_eq!(problem(&event), ProblemKind::MethodNotAllowed, "{method}");
        }
    }
    assert_eq!(problem(&version_2("GET", "/")), ProblemKind::UnknownPath);
}

#[test]
fn a_body_is_the_bytes_that_were_sent() {
    let mut event = version_2("POST", "/webhooks/a");
    event["isBase64Encoded"] = json!(true);
    for bytes in [&b""[..], b"\xff\x00", b"{}", b"abcd"] {
        event["body"] = json!(STANDARD.encode(bytes));
        assert_eq!(read(&event).unwrap().body, bytes);
    }
    for bad in ["*", "YQ", "YQ=", "YQ==\n", "YQ==YQ==", "YR=="] {
        event["body"] = json!(bad);
        assert_eq!(problem(&event), ProblemKind::InvalidBase64, "{bad}");
    }
    event["body"] = Value::Null;
    assert_eq!(read(&event).unwrap().body, "");
}

#[test]
fn a_body_is_taken_whole_up_to_the_limit_and_not_past_it() {
    for base64 in [false, true] {
        for limit in [9, 10, 11, MAX_BODY_BYTES] {
            for (bytes, fits) in [(limit - 1, true), (limit, true), (limit + 1, false), (limit + 2, false)] {
                let body = "a".repeat(bytes);
                let event = HttpEvent {
                    body: Some(if base64 { STANDARD.encode(&body) } else { body }),
                    is_base64_encoded: Some(base64),
                    ..serde_json::from_value(version_2("POST", "/webhooks/a")).unwrap()
                };
                match Request::from_event(event, limit) {
                    Ok(request) => assert!(fits && request.body.len() == bytes),
                    Err(RequestRefusal::Problem { problem, .. }) => {
                        assert_eq!((fits, problem.kind), (false, ProblemKind::BodyTooLarge));
                    }
                    Err(refusal) => panic!("{refusal:?}"),
                }
            }
        }
    }
}

#[test]
fn what_is_no_request_is_named_as_such() {
    for event in [
        json!({}),
        json!([]),
        json!(null),
        json!("x"),
        json!({ "Records": [] }),
        json!({ "rawPath": "/webhooks/a" }),
        json!({ "httpMethod": "POST" }),
        json!({ "path": "/webhooks/a", "requestContext": { "http": { "method": "POST" } } }),
        json!({ "httpMethod": "POST", "path": "/webhooks/a", "body": { "canary": 1 } }),
        json!({ "httpMethod": "POST", "path": "/webhooks/a", "headers": "canary" }),
    ] {
        match read(&event) {
            Err(RequestRefusal::NotARequest(error)) => {
                assert_eq!((error.kind(), error.code()), (Kind::Contract, Code::NotAnHttpRequest));
                assert!(!error.chain().contains("canary"), "{}", error.chain());
            }
            other => panic!("{event}: {other:?}"),
        }
    }
}

#[test]
fn nulls_and_headers_that_cannot_be_are_passed_over() {
    let request = read(&json!({
        "httpMethod": "POST", "path": "/webhooks/a", "multiValueHeaders": { "A": null, "B": [] },
        "headers": { "A": "a", "B": null, "C d": "c", "E": "e\nf", "": "g", "H": "ü" },
        "requestContext": null, "queryStringParameters": null, "body": null, "isBase64Encoded": null
    }))
    .unwrap();
    assert_eq!(request.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["a", "h"]);
    assert_eq!(request.headers["h"], "ü".as_bytes());
    assert_eq!(request.request_id, None);

    let many: BTreeMap<String, String> = (0..100_000).map(|n| (format!("x-{n}"), String::new())).collect();
    let request = read(&json!({ "httpMethod": "POST", "path": "/webhooks/a", "headers": many })).unwrap();
    assert!(request.headers.len() > 1_000);
}

#[test]
fn nothing_secret_is_shown() {
    let mut event = version_2("POST", "/webhooks/github");
    event["headers"]["authorization"] = json!("canary");
    event["rawQueryString"] = json!("key=canary");
    event["body"] = json!("canary");
    let parsed: HttpEvent = serde_json::from_value(event).unwrap();
    assert!(!format!("{parsed:?}").contains("canary"));
    let request = Request::from_event(parsed, MAX_BODY_BYTES).unwrap();
    assert!(!format!("{request:?}").contains("canary"));
}

/// Events that look like requests, with anything in every field.
fn any_event() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(Value::from("POST")),
        Just(Value::from("/webhooks/a")),
    ];
    let key = prop::sample::select(vec![
        "rawPath",
        "rawQueryString",
        "path",
        "httpMethod",
        "headers",
        "multiValueHeaders",
        "requestContext",
        "http",
        "method",
        "sourceIp",
        "identity",
        "requestId",
        "body",
        "isBase64Encoded",
        "queryStringParameters",
    ]);
    leaf.prop_recursive(4, 40, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..10).prop_map(|members| {
                Value::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_an_event_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(EventPayload(event)) = serde_json::from_slice(&bytes) {
            drop(Request::from_event(event, 100));
        }
    }

    #[test]
    fn any_event_is_a_request_or_a_refusal(event in any_event()) {
        drop(read(&event));
    }

    #[test]
    fn any_path_header_and_query_is_a_request_or_a_refusal(
        path in any::<String>(), name in any::<String>(), value in any::<String>(), query in any::<String>(),
        body in any::<String>(), base64: bool,
    ) {
        let mut event = version_2("POST", &format!("/webhooks/{path}"));
        event["headers"] = json!({ name: value });
        event["rawQueryString"] = json!(query);
        event["body"] = json!(body);
        event["isBase64Encoded"] = json!(base64);
        match read(&event) {
            Ok(request) => prop_assert!(base64 || request.body == body.as_bytes()),
            Err(RequestRefusal::Problem { .. }) => {}
            Err(refusal) => prop_assert!(false, "{:?}", refusal),
        }
    }
}
