//! docs/openapi.yaml is valid OpenAPI, and the function responds as it describes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use http::HeaderMap;
use ingest_webhook::problem::ProblemKind;
use jsonschema::Validator;
use millrace_cli::checkout::Checkout;
use serde_json::{Value, json};

use super::client::{Form, Reply, TIME, request};
use super::fixture::{WebhookFixture, signed};

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let path = Checkout::find().expect("the checkout").root().join("docs/openapi.yaml");
    let text = std::fs::read_to_string(&path).expect("docs/openapi.yaml");
    serde_saphyr::from_str(&text).expect("docs/openapi.yaml is YAML")
});

/// The description of one status.
struct Response {
    /// By media type.
    bodies: BTreeMap<String, Validator>,
    /// The schemas of the required headers of a response.
    headers: BTreeMap<String, Validator>,
}

static RESPONSES: LazyLock<BTreeMap<String, Response>> = LazyLock::new(|| {
    let read =
        |(status, response): (&String, &'static Value)| (status.clone(), read_response(resolve(response)));
    members(&operation()["responses"]).map(read).collect()
});

fn operation() -> &'static Value {
    &DOCUMENT["paths"]["/webhooks/{source}"]["post"]
}

fn members(value: &'static Value) -> impl Iterator<Item = (&'static String, &'static Value)> {
    value.as_object().into_iter().flatten()
}

/// Resolves a reference, or returns `value` itself.
fn resolve(value: &'static Value) -> &'static Value {
    let Some(reference) = value["$ref"].as_str() else { return value };
    let pointer = reference.strip_prefix('#').expect("a reference within the document");
    DOCUMENT.pointer(pointer).expect(reference)
}

fn read_response(response: &'static Value) -> Response {
    let bodies =
        members(&response["content"]).map(|(kind, content)| (kind.clone(), validator(&content["schema"])));
    let headers = members(&response["headers"])
        .map(|(name, header)| (name, resolve(header)))
        .filter(|(_, header)| header["required"] == true)
        .map(|(name, header)| (name.to_lowercase(), validator(&header["schema"])));
    Response { bodies: bodies.collect(), headers: headers.collect() }
}

/// Validates against a schema of the document, including its references.
fn validator(schema: &Value) -> Validator {
    let mut schema = schema.clone();
    schema["components"] = DOCUMENT["components"].clone();
    jsonschema::draft202012::options().should_validate_formats(true).build(&schema).expect("a JSON Schema")
}

fn conforms(validator: &Validator, value: &Value, what: &str) {
    let errors: Vec<String> = validator.iter_errors(value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{what}: {errors:?} in {value}");
}

/// Fails the test when the document does not describe the response.
pub fn check(reply: &Reply) {
    let response = RESPONSES.get(&reply.status.to_string());
    let response = response.unwrap_or_else(|| panic!("a status that is not described: {reply:?}"));
    for (name, validator) in &response.headers {
        let value = reply.headers.get(name).unwrap_or_else(|| panic!("no header {name}: {reply:?}"));
        conforms(validator, &json!(value), name);
    }
    let content_type = &reply.headers["content-type"];
    let media_type = content_type.split(';').next().unwrap_or_default();
    let body = response.bodies.get(media_type);
    let body = body.unwrap_or_else(|| panic!("a type that is not described: {reply:?}"));
    conforms(body, &reply.body, "the body");
}

#[test]
fn the_description_is_valid_openapi_3_1() {
    let schema = include_str!("../../data/openapi-3.1.schema.json");
    let schema: Value = serde_json::from_str(schema).expect("the schema of OpenAPI 3.1");
    conforms(&jsonschema::validator_for(&schema).expect("a JSON Schema"), &DOCUMENT, "docs/openapi.yaml");
    for (name, schema) in members(&DOCUMENT["components"]["schemas"]) {
        assert!(jsonschema::meta::is_valid(schema), "{name}");
    }
    let declared = DOCUMENT["info"]["version"].as_str();
    assert_eq!(declared, Some(env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_example_is_what_its_schema_says() {
    let mut count = 0;
    let bodies = members(&operation()["responses"])
        .map(|(_, response)| resolve(response))
        .chain([&operation()["requestBody"]]);
    for (kind, content) in bodies.flat_map(|body| members(&body["content"])) {
        let validator = validator(&content["schema"]);
        for (name, example) in members(&content["examples"]) {
            conforms(&validator, &example["value"], &format!("{kind}, example {name}"));
            count += 1;
        }
    }
    assert!(count >= 20, "{count} examples");
}

#[test]
fn every_kind_of_problem_is_described_with_its_status_and_title() {
    let kinds: BTreeSet<&str> = ProblemKind::ALL.map(ProblemKind::type_uri).into();
    let described = &DOCUMENT["components"]["schemas"]["Problem"]["properties"]["type"]["enum"];
    let described: BTreeSet<&str> =
        described.as_array().expect("types").iter().filter_map(Value::as_str).collect();
    assert_eq!(kinds, described);
    for kind in ProblemKind::ALL {
        let status = kind.status().to_string();
        let content = &operation()["responses"][&status]["content"]["application/problem+json"];
        let example = members(&content["examples"])
            .map(|(_, example)| &example["value"])
            .find(|example| example["type"] == kind.type_uri());
        let example = example.unwrap_or_else(|| panic!("{kind:?} has no example under {status}"));
        assert_eq!((&example["status"], &example["title"]), (&json!(kind.status()), &json!(kind.title())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_status_that_is_described_is_one_the_function_gives() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[("MILLRACE_MAX_BODY_BYTES", "1 KiB")]).await;
    let mut seen = BTreeSet::new();
    let mut see = async |method: &str, source: &str, headers: HeaderMap, body: &str| {
        let event = request(method, &format!("/webhooks/{source}"), &headers, body.as_bytes(), Form::Plain);
        seen.insert(client.send(&event, TIME).await.status.to_string());
    };
    let large = format!("\"{}\"", "x".repeat(1024));
    let challenge = r#"{"type":"url_verification","challenge":"c"}"#;
    for (method, source, body) in [
        ("POST", "slack", challenge),
        ("POST", "bearer", "{}"),
        ("POST", "bearer", "{"),
        ("POST", "orders", &large),
        ("GET", "orders", "{}"),
    ] {
        see(method, source, signed(source, "1", body.as_bytes()), body).await;
    }
    see("POST", "bearer", HeaderMap::new(), "{}").await;
    see("POST", "nobody", HeaderMap::new(), "{}").await;
    see("POST", "unset", HeaderMap::new(), "{}").await;
    let mut headers = signed("bearer", "1", b"<a/>");
    headers.insert("content-type", "text/xml".parse().expect("a value"));
    see("POST", "bearer", headers, "<a/>").await;
    // The gateway throttles, and an internal error cannot be provoked.
    seen.extend(["429", "500"].map(str::to_owned));
    assert_eq!(seen, RESPONSES.keys().cloned().collect());
}
