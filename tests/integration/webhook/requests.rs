//! The request formats of gateways.

use http::HeaderMap;
use millrace_tests::runtime_api::Outcome;
use serde_json::{Map, Value, json};

use super::client::{Form, TIME, encode, request, to_map};
use super::fixture::{WebhookFixture, signed};

/// A REST API's request, payload format 1.0: headers with their original case, once with one value and once with all
/// values.
fn rest(headers: &HeaderMap, body: &[u8], form: Form) -> Value {
    let written: Map<String, Value> =
        to_map(headers).into_iter().map(|(name, value)| (name.to_uppercase(), value)).collect();
    let many: Map<String, Value> =
        written.iter().map(|(name, value)| (name.clone(), json!([value]))).collect();
    json!({
        "resource": "/webhooks/{source}",
        "path": "/webhooks/github",
        "httpMethod": "POST",
        "headers": written,
        "multiValueHeaders": many,
        "queryStringParameters": null,
        "multiValueQueryStringParameters": null,
        "pathParameters": { "source": "github" },
        "stageVariables": null,
        "requestContext": {
            "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
            "stage": "prod",
            "identity": { "sourceIp": "192.0.2.1", "userAgent": null },
        },
        "body": encode(body, form),
        "isBase64Encoded": form == Form::Base64,
    })
}

/// A function URL's request: format 2.0 without a route, with null for absent values.
fn function_url(headers: &HeaderMap, body: &[u8], form: Form) -> Value {
    let mut event = request("POST", "/webhooks/github", headers, body, form);
    event["routeKey"] = json!("$default");
    event["rawQueryString"] = json!("a=1&b");
    event["queryStringParameters"] = json!({ "a": "1", "b": "" });
    event["cookies"] = json!(["a=b"]);
    event["requestContext"]["authorizer"] = json!(null);
    event["requestContext"]["domainName"] = json!("abc.lambda-url.us-east-1.on.aws");
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn rest_apis_and_function_urls_send_the_same_delivery() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[]).await;
    let mut stored = 0;
    for form in [Form::Plain, Form::Base64] {
        for shape in [rest, function_url] {
            let body = format!(r#"{{"n":{stored}}}"#);
            let headers = signed("github", &format!("id-{stored}"), body.as_bytes());
            let event = shape(&headers, body.as_bytes(), form);
            assert_eq!(client.send(&event, TIME).await.event_ids().len(), 1, "{event}");
            // The same delivery in the other format.
            let other = request("POST", "/webhooks/github", &headers, body.as_bytes(), form);
            client.send(&other, TIME).await.was(202, "duplicate");
            stored += 1;
        }
    }
    let rows = fixture.rows().await;
    assert!(rows.iter().all(|row| row.event_type == "issues"), "{rows:?}");
    assert_eq!(fixture.counted().await, (0..stored).map(|n| (n, 1)).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_no_request_is_an_error_of_the_invocation_and_the_function_goes_on() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[]).await;
    for event in [
        json!({ "Records": [] }),
        json!({}),
        json!("canary"),
        json!({ "isBase64Encoded": "canary" }),
        json!({ "rawPath": 7, "body": "canary" }),
    ] {
        let outcome = client.function.invoke(&event, TIME).await;
        let Outcome::Error(error) = outcome else { panic!("{outcome:?}") };
        assert!(!error.to_string().contains("canary"), "{error}");
    }
    assert!(
        client.function.logs().iter().all(|line| !line.contains("canary")),
        "{:?}",
        client.function.logs()
    );
    client.deliver("bearer", "1", "{}").await.was(202, "stored");
}
