//! `millrace dead-letters show`

use millrace::dead_letter::{DeadLetter, DeadLetterKind, Origin, Payload};
use millrace::{Kind, Result};
use serde_json::{Value, json};

use super::context::DeadLetterContext;
use super::ids::Matches;
use super::output::{print_json, stopped};
use crate::arguments::dead_letters::ShowDeadLetter;
use crate::commands::{CommandOutcome, Stop};
use crate::dead_letters::advice;
use crate::dead_letters::entry::Entry;
use crate::dead_letters::{ScanProgress, each};
use crate::terminal::{Terminal, bytes, figure};

/// What is found under one id, or under its first characters.
#[derive(Default)]
struct FoundDeadLetter {
    matches: Matches,
    /// Of several copies the one that failed last.
    entry: Option<Entry>,
    message_ids: Vec<String>,
}

impl FoundDeadLetter {
    fn take(&mut self, entry: Entry) {
        self.matches.add(&entry);
        // Of several dead letters none is shown.
        if self.matches.len() > 1 {
            self.entry = None;
            return;
        }
        self.message_ids.push(entry.message_id.clone());
        let attempts =
            |entry: &Entry| entry.dead_letter.as_ref().map_or(0, |dead_letter| dead_letter.attempts);
        if self.entry.as_ref().is_none_or(|known| attempts(known) < attempts(&entry)) {
            self.entry = Some(entry);
        }
    }
}

pub(super) async fn run(
    arguments: &ShowDeadLetter,
    context: &DeadLetterContext<'_>,
    stop: &mut Stop,
    terminal: &mut Terminal,
) -> Result<CommandOutcome> {
    let Some(found) = stop.unless_asked(find(arguments, context)).await? else {
        return Ok(stopped("no dead letter was changed", terminal));
    };
    found.matches.only(&arguments.id)?;
    let Some(entry) = found.entry else {
        let archived = if arguments.archived { "archived " } else { "" };
        let which = match arguments.id.whole() {
            Some(_) => "the id",
            None => "an id that begins with",
        };
        terminal.bad(&format!("no {archived}dead letter has {which} {}", arguments.id));
        return Ok(CommandOutcome::Bad);
    };
    let Some(dead_letter) = &entry.dead_letter else {
        if arguments.json {
            print_json(&json!({ "message_ids": found.message_ids, "body": entry.body }), terminal)?;
        } else {
            terminal.line("Neither a dead letter nor a known record of AWS. The message:");
            terminal.line("");
            print_text(&entry.body, terminal);
        }
        return Ok(CommandOutcome::Done);
    };
    let opened = match context.reader.open(dead_letter).await {
        Ok(opened) => opened,
        // The dead letter is there all the same; what it held is not.
        Err(error) if error.kind() == Kind::Contract => {
            terminal.bad(&error.chain());
            dead_letter.clone()
        }
        Err(error) => return Err(error),
    };
    if arguments.json {
        let advice = advice::find(opened.kind, &opened.reason);
        print_json(
            &json!({
                "dead_letter": opened,
                "message_ids": found.message_ids,
                "meaning": advice.as_ref().map(|advice| advice.meaning),
                "what_to_do": advice.as_ref().map(|advice| advice.what_to_do),
            }),
            terminal,
        )?;
    } else {
        print(&opened, found.message_ids.len(), terminal);
    }
    Ok(CommandOutcome::Done)
}

async fn find(arguments: &ShowDeadLetter, context: &DeadLetterContext<'_>) -> Result<FoundDeadLetter> {
    let mut found = FoundDeadLetter::default();
    if arguments.archived {
        let progress = ScanProgress::new("reading the archive");
        context
            .archive()
            .each(&progress, async |archived| {
                if arguments.id.begins(archived.entry.id) {
                    found.take(archived.entry);
                }
                Ok(())
            })
            .await?;
    } else {
        let progress = ScanProgress::new("reading the dead-letter queue");
        each(&context.reader, &progress, |entry| {
            if arguments.id.begins(entry.id) {
                found.take(entry);
            }
            Ok(true)
        })
        .await?;
    }
    Ok(found)
}

fn print(dead_letter: &DeadLetter, copies: usize, terminal: &mut Terminal) {
    let mut field = |name: &str, value: &str| terminal.prose(&format!("{name:<14}"), &readable(value, ""));
    field("id", &dead_letter.id.to_string());
    field("kind", dead_letter.kind.name());
    if let Some(source) = &dead_letter.source {
        field("source", source);
    }
    if let Some(event_type) = &dead_letter.event_type {
        field("event type", event_type);
    }
    field("first failed", &dead_letter.first_failed_at);
    field("attempts", &figure(dead_letter.attempts));
    field("messages", &figure(copies as u64));
    let reason = &dead_letter.reason;
    field("reason", &reason.code);
    field("", &reason.message);
    let more = [("column", &reason.column), ("sqlstate", &reason.sqlstate), ("model", &reason.model)];
    for (name, value) in more.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))) {
        field(name, value);
    }
    for (name, value) in origin(&dead_letter.origin) {
        field(name, &value);
    }
    terminal.heading("What it holds");
    print_payload(dead_letter, terminal);
    terminal.heading("What to do");
    match advice::find(dead_letter.kind, reason) {
        Some(advice) => {
            terminal.prose("", &sentence(advice.meaning));
            terminal.prose("", &sentence(advice.what_to_do));
        }
        None => terminal.line("This reason is not in docs/dead-letters.md: look at its message."),
    }
    terminal.line(&format!("    millrace dead-letters redrive --id {}", dead_letter.id));
    terminal.line(&format!("    millrace dead-letters drop --id {}", dead_letter.id));
}

/// A cell of a table, as a sentence.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(char::to_uppercase);
    format!("{}{}.", first.map(String::from_iter).unwrap_or_default(), characters.as_str())
}

/// The fields that are there, in words.
fn origin(origin: &Origin) -> Vec<(&'static str, String)> {
    let mut fields = Vec::new();
    if let (Some(bucket), Some(key)) = (&origin.bucket, &origin.key) {
        fields.push(("file", format!("s3://{bucket}/{key}")));
    }
    let text = [
        ("version", origin.version.clone()),
        ("load", origin.load_id.map(|id| id.to_string())),
        ("delivery", origin.delivery_id.clone()),
        ("record", origin.record.map(|record| format!("{} (from 0)", figure(record)))),
        ("line", origin.line.map(|line| figure(line).to_string())),
        ("offset", origin.offset.map(|offset| format!("{} bytes", figure(offset)))),
        ("batch", origin.batch_id.map(|id| id.to_string())),
        ("event", origin.event_id.map(|id| id.to_string())),
        ("message", origin.message_id.clone()),
    ];
    fields.extend(text.into_iter().filter_map(|(name, value)| Some((name, value?))));
    fields
}

fn print_payload(dead_letter: &DeadLetter, terminal: &mut Terminal) {
    match &dead_letter.payload {
        Payload::Pointer { pointer } => {
            let size = bytes(pointer.bytes);
            terminal.line(&format!("{size} in s3://{}/{}", pointer.bucket, pointer.key));
        }
        Payload::Base64 { base64 } => {
            terminal.line("bytes that are not UTF-8, in base64:");
            print_text(base64, terminal);
        }
        Payload::Json(Value::String(text)) => print_raw(dead_letter.kind, text, terminal),
        Payload::Json(value) => {
            print_json_text(value, terminal);
            // What JSON has to escape is hard to read in it.
            if let Some(body) = value.get("body").and_then(Value::as_str) {
                terminal.heading("Its body");
                print_raw(dead_letter.kind, body, terminal);
            }
        }
    }
}

/// JSON is laid out; a record of a file stays as it is, whatever it looks like.
fn print_raw(kind: DeadLetterKind, text: &str, terminal: &mut Terminal) {
    let parsed =
        serde_json::from_str::<Value>(text).ok().filter(|value| value.is_object() || value.is_array());
    match parsed.filter(|_| kind != DeadLetterKind::Rows) {
        Some(value) => print_json_text(&value, terminal),
        None => print_text(text, terminal),
    }
}

fn print_json_text(value: &Value, terminal: &mut Terminal) {
    let text = serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string());
    print_text(&text, terminal);
}

fn print_text(text: &str, terminal: &mut Terminal) {
    terminal.line(&readable(text, "\n"));
}

/// Text as it is, but for control characters, which could write anywhere on the screen; those in `kept` stay.
fn readable(text: &str, kept: &str) -> String {
    let mut readable = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && !kept.contains(character) {
            readable.extend(character.escape_default());
        } else {
            readable.push(character);
        }
    }
    readable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_lines_stay_lines() {
        assert_eq!(readable("a\x1b[31m\r\n\tb\u{9b}ä", "\n"), "a\\u{1b}[31m\\r\n\\tb\\u{9b}ä");
        assert_eq!(readable("a\nb", ""), "a\\nb");
    }
}
