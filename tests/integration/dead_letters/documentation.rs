//! Compares docs/dead-letters.md and docs/dead-letter.schema.json with the code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Parser;
use millrace::dead_letter::Payload;
use millrace_cli::arguments::Arguments;
use millrace_cli::checkout::Checkout;
use millrace_cli::dead_letters::advice;
use serde_json::{Value, json};

use super::fixture::rows_dead_letter;

fn root() -> PathBuf {
    Checkout::find().unwrap().root().to_owned()
}

/// The product's own source files below a folder, without tests.
fn sources(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "tests" {
            sources(&path, found);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let text = std::fs::read_to_string(&path).unwrap();
            let product = text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned();
            found.push((path, product));
        }
    }
}

/// The source files of the functions and of the crates that they share.
fn product() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for folder in ["functions", "shared"] {
        sources(&root().join(folder), &mut found);
    }
    found
}

/// The quoted word at the beginning of `text`, if it can be a code.
fn quoted_word(text: &str) -> Option<String> {
    let (word, _) = text.trim_start().strip_prefix('"')?.split_once('"')?;
    let could_be = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_';
    (!word.is_empty() && word.chars().all(could_be)).then(|| word.to_owned())
}

/// Every such word that follows `before`: `wrong` when the text has `.with_code("wrong")` and `before` is `.with_code(`.
fn words_after(text: &str, before: &str) -> Vec<String> {
    text.split(before).skip(1).filter_map(quoted_word).collect()
}

/// The codes of dead letters in the code, as far as they are where a dead letter, a reject or a contract error is made.
fn codes_in_code() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for (path, text) in product() {
        let path = path.to_str().unwrap();
        // functions/redrive makes no dead letters: it forwards the clients' errors and counts by its own words.
        if !path.contains("functions/redrive/") {
            codes.extend(words_after(&text, "Reason::new("));
        }
        // The codes that a redrive target reports for a dead letter that fails again.
        if text.contains("RedriveOutcome::Failed") {
            codes.extend(words_after(&text, "failed("));
        }
        // The codes for a body that cannot be parsed when its dead letter is redriven.
        if path.ends_with("functions/ingest-webhook/src/problem.rs") {
            codes.extend(text.split("=> ProblemKind::").skip(1).filter_map(problem_code));
        }
        // A reason with its code: `DefectKind::Nul => ("nul_character", "…")`.
        if text.contains("Reject") || text.contains("Reason::new(") {
            codes.extend(words_after(&text, "=> ("));
        }
        if path.contains("functions/ingest-") || path.contains("shared/webhook/") {
            codes.extend(words_after(&text, "code: "));
        }
        if path.contains("shared/csv/") {
            codes.extend(
                words_after(&text, "code: ")
                    .into_iter()
                    .filter(|code| code != "config" && code != "read_failed"),
            );
            codes.extend(words_after(&text, "Error::file("));
            for call in text.split("broken(error,").skip(1) {
                codes.extend(call.split(')').next().unwrap().split(',').filter_map(quoted_word));
            }
        }
        // A file that breaks its contract becomes a dead letter with the error's code.
        if path.contains("functions/ingest-csv/") {
            codes.extend(words_after(&text, "(Kind::Contract,"));
            let statements = text.split(';').flat_map(|text| text.split("\n}"));
            for statement in statements.filter(|statement| statement.contains("Kind::Contract")) {
                codes.extend(words_after(statement, ".with_code("));
            }
        }
        // A delivery that the database does not accept becomes a dead letter with the database error's code.
        if path.contains("shared/core/src/database/") {
            let of_database =
                words_after(&text, ".with_code(").into_iter().filter(|code| code.starts_with("database_"));
            codes.extend(of_database);
            for kind in ["Config", "Contract", "Transient", "Conflict", "Bug"] {
                codes.extend(words_after(&text, &format!("(Kind::{kind},")));
            }
        }
    }
    codes
}

/// Converts `EmptyBody, "…"` to `empty_body`.
fn problem_code(text: &str) -> Option<String> {
    let name = text.split(|it: char| !it.is_ascii_alphanumeric()).next()?;
    let mut code = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() && !code.is_empty() {
            code.push('_');
        }
        code.push(character.to_ascii_lowercase());
    }
    (!code.is_empty()).then_some(code)
}

#[test]
fn every_documented_reason_is_in_the_code() {
    let product: String = product().into_iter().map(|(_, text)| text).collect();
    let stands = |code: &str| {
        // A problem of a delivery is a code with dashes, in a URN.
        let problem = format!("\"urn:millrace:problem:{}\"", code.replace('_', "-"));
        product.contains(&format!("\"{code}\"")) || product.contains(&problem)
    };
    let unknown: Vec<&str> = advice::all().map(|it| it.code).filter(|code| !stands(code)).collect();
    assert!(unknown.is_empty(), "in docs/dead-letters.md, and nowhere in the code: {unknown:?}");
}

#[test]
fn every_reason_in_the_code_is_documented() {
    let documented: BTreeSet<String> = advice::all().map(|it| it.code.to_owned()).collect();
    let codes = codes_in_code();
    // One code for each way in which a dead letter gets its code: the test would be worthless if one way was no longer
    // found.
    for known in [
        "not_a_notification",
        "nul_character",
        "wrong_type",
        "no_source_for_key",
        "decompression_bomb",
        "truncated_zstd",
        "object_missing",
        "database_unreachable",
        "schema_missing",
        "refused_by_model",
    ] {
        assert!(codes.contains(known), "{known} was not found in the code");
    }
    let missing: Vec<&String> = codes.difference(&documented).collect();
    assert!(missing.is_empty(), "in the code, and not in docs/dead-letters.md: {missing:?}");
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
    let dead_letter = serde_json::to_value(rows_dead_letter(7, "wrong_type", Payload::raw(b"a,b"))).unwrap();
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
