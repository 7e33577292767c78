//! Validates every dead letter that a test reads against docs/dead-letter.schema.json.

use std::sync::LazyLock;

use jsonschema::Validator;
use millrace::config::Sources;
use millrace::dead_letter::{DeadLetter, ParsedMessage, ReceivedMessage};
use millrace_cli::checkout::Checkout;
use serde_json::Value;

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let path = Checkout::find().expect("the checkout").root().join("docs/dead-letter.schema.json");
    let text = std::fs::read_to_string(path).expect("docs/dead-letter.schema.json");
    let schema: Value = serde_json::from_str(&text).expect("JSON");
    jsonschema::draft202012::options().should_validate_formats(true).build(&schema).expect("a JSON Schema")
});

/// The first violation of the schema, if any.
pub fn problems(dead_letter: &Value) -> Vec<String> {
    SCHEMA.iter_errors(dead_letter).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// The dead letter of a message: as it was sent, or as it is read when AWS sent it.
pub fn read(message: &ReceivedMessage) -> DeadLetter {
    let ParsedMessage::DeadLetter(dead_letter) = message.read(&Sources::default()) else {
        panic!("not a dead_letter: {}", message.body)
    };
    let body: Value = serde_json::from_str(&message.body).expect("a body of JSON");
    let as_read = serde_json::to_value(&dead_letter).expect("a dead letter as JSON");
    // Reading a dead letter loses none of its content.
    assert!(body.get("kind").is_none() || body == as_read, "{body} was read as {as_read}");
    let problems = problems(&as_read);
    assert!(problems.is_empty(), "{as_read}: {problems:?}");
    dead_letter
}
