//! Compares docs/dead-letters.md and docs/dead-letter.schema.json with the code.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Parser;
use millrace::Code;
use millrace::dead_letter::Payload;
use millrace::dead_letter::codes::kinds_with;
use millrace_cli::arguments::Arguments;
use millrace_cli::checkout::Checkout;
use millrace_cli::dead_letters::advice;
use serde_json::{Value, json};

use super::fixture::rows_dead_letter;

fn root() -> PathBuf {
    Checkout::find().unwrap().root().to_owned()
}

#[test]
fn the_documentation_lists_the_codes_of_each_kind() {
    let documented: BTreeSet<(&str, &str)> = advice::all().map(|advice| (advice.kind, advice.code)).collect();
    let of_code = |code: Code| kinds_with(code).iter().map(move |kind| (kind.name(), code.name()));
    let codes: BTreeSet<(&str, &str)> = Code::ALL.iter().copied().flat_map(of_code).collect();
    assert_eq!(documented, codes);
}

#[test]
fn every_code_has_a_name_of_its_own() {
    let names: BTreeSet<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(names.len(), Code::ALL.len());
    for name in names {
        assert_eq!(Code::parse(name).map(Code::name), Some(name));
    }
    assert_eq!(Code::parse("of_a_later_version"), None);
}

fn schema() -> Value {
    let text = std::fs::read_to_string(root().join("docs/dead-letter.schema.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn the_schema_is_valid_and_describes_every_field() {
    let schema = schema();
    assert!(jsonschema::meta::is_valid(&schema));
    fn check(schema: &Value, place: &str) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let place = format!("{place}.{name}");
            // The object that contains a pointer is described where it is defined.
            assert!(field["description"].is_string() || place.ends_with("pointer.pointer"), "{place}");
            check(field, &place);
        }
    }
    check(&schema, "dead letter");
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        assert!(definition["description"].is_string(), "{name}");
        check(definition, name);
    }
}

#[test]
fn the_schema_refuses_other_documents() {
    let dead_letter =
        serde_json::to_value(rows_dead_letter(7, Code::WrongType, Payload::raw(b"a,b"))).unwrap();
    assert_eq!(millrace_tests::dead_letters::problems(&dead_letter), Vec::<String>::new());
    for (pointer, wrong) in [
        ("/id", json!("7")),
        ("/kind", json!("row")),
        ("/kind", json!("event")),
        ("/kind", json!("delivery")),
        ("/source", Value::Null),
        ("/source", json!(7)),
        ("/reason", json!({ "code": "wrong_type" })),
        ("/reason/code", json!("Wrong type")),
        ("/reason", json!({ "code": "a", "message": "b", "sqlstate": "22P0" })),
        ("/reason", json!({ "code": "a", "message": "b", "why": "c" })),
        ("/origin/line", json!(0)),
        ("/origin/offset", json!(-1)),
        ("/origin", json!({ "bucket": "b" })),
        ("/payload", json!({ "base64": "aGk=", "name": "x" })),
        ("/payload", json!({ "pointer": { "bucket": "b", "key": "k" } })),
        ("/payload", json!(7)),
        ("/attempts", json!(0)),
        ("/first_failed_at", json!("yesterday")),
        ("/first_failed_at", json!("2026-01-02T03:04:05+01:00")),
    ] {
        let mut dead_letter = dead_letter.clone();
        *dead_letter.pointer_mut(pointer).unwrap() = wrong.clone();
        assert!(!millrace_tests::dead_letters::problems(&dead_letter).is_empty(), "{pointer}: {wrong}");
    }
    for field in
        ["id", "kind", "source", "event_type", "reason", "origin", "payload", "attempts", "first_failed_at"]
    {
        let mut dead_letter = dead_letter.clone();
        dead_letter.as_object_mut().unwrap().remove(field);
        assert!(!millrace_tests::dead_letters::problems(&dead_letter).is_empty(), "without {field}");
    }
}

#[tokio::test]
async fn every_command_has_help_with_an_example_that_can_be_typed() {
    let millrace = millrace_tests::runtime_api::binary("millrace");
    for command in ["list", "show", "export", "drop", "redrive", "restore"] {
        let help = tokio::process::Command::new(&millrace).args(["dead-letters", command, "--help"]).output();
        let help = String::from_utf8(help.await.unwrap().stdout).unwrap();
        assert!(help.contains(&format!("Usage: millrace dead-letters {command}")), "{help}");
        let example = format!("    millrace dead-letters {command} ");
        let examples: Vec<&str> = help.lines().filter(|line| line.starts_with(&example)).collect();
        assert!(!examples.is_empty(), "{help}");
        for example in examples {
            let typed = example.split(" | ").next().unwrap().split(" # ").next().unwrap();
            let parsed = Arguments::try_parse_from(typed.split_whitespace());
            assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
        }
    }
}

#[test]
fn every_command_in_the_documentation_can_be_typed() {
    let text = std::fs::read_to_string(root().join("docs/dead-letters.md")).unwrap();
    let commands: Vec<&str> =
        text.lines().filter(|line| line.starts_with("millrace dead-letters ")).collect();
    assert!(commands.len() >= 7, "{commands:?}");
    for command in commands {
        let typed = command.split(" # ").next().unwrap();
        let parsed = Arguments::try_parse_from(typed.split_whitespace());
        assert!(parsed.is_ok(), "{command}: {}", parsed.unwrap_err());
    }
}
