//! `millrace dead-letters drop` deletes only the dead letters that it showed, after confirmation.

use std::process::{Output, Stdio};

use millrace::Code;
use millrace::dead_letter::{DeadLetter, Payload};
use millrace_tests::runtime_api::binary;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::fixture::{DeadLetterFixture, many, rows_dead_letter, said};

async fn objects(fixture: &DeadLetterFixture) -> usize {
    let list = fixture.aws.clients.s3.list_objects_v2().bucket(&fixture.aws.bucket).prefix("dead-letters/");
    list.send().await.unwrap().contents.unwrap_or_default().len()
}

#[tokio::test]
async fn drop_deletes_only_matching_dead_letters_and_their_objects() {
    let fixture = DeadLetterFixture::new().await;
    let mut dead_letters = many(20);
    let large = |number| rows_dead_letter(number, Code::FieldTooLong, Payload::raw(&[b'a'; 5_000]));
    dead_letters.extend([large(20), large(21)]);
    fixture.send_within(&dead_letters, 4_096).await;
    // A copy is deleted with its dead letter.
    fixture.send_within(&dead_letters[20..21], 4_096).await;
    assert_eq!(objects(&fixture).await, 2);

    let id = dead_letters[20].id.to_string();
    let text = fixture.said(&["drop", "--id", &id, "--yes"]).await;
    assert!(text.contains("1 dead letter in 2 messages dropped"), "{text}");
    assert!(text.contains(&id[..8]) && text.contains("field_too_long"), "it shows what it drops: {text}");
    assert_eq!(objects(&fixture).await, 1, "the other dead letter keeps its object");

    let text = fixture.said(&["drop", "--code", "wrong_column_count", "--yes"]).await;
    assert!(text.contains("20 dead letters dropped"), "{text}");
    assert!(
        fixture
            .said(&["drop", "--code", "wrong_column_count", "--yes"])
            .await
            .contains("no such dead letter")
    );
    fixture.holds(&dead_letters[21..]).await;
}

#[tokio::test]
async fn more_dead_letters_than_are_shown_are_dropped_all_the_same() {
    let fixture = DeadLetterFixture::new().await;
    fixture.send(&many(120)).await;
    let rubbish = fixture.send_body("rubbish").await;
    let text = fixture.said(&["drop", "--all", "--yes"]).await;
    assert!(text.contains("and 71 more") && text.contains("121 dead letters dropped"), "{text}");
    assert!(text.contains("unreadable") && !text.contains("rubbish"), "{rubbish}: {text}");
    assert_eq!(fixture.counts().await, (0, 0));
}

#[tokio::test]
async fn without_a_filter_or_a_terminal_nothing_is_dropped() {
    let fixture = DeadLetterFixture::new().await;
    let dead_letters = many(3);
    fixture.send(&dead_letters).await;
    for (arguments, words) in [
        (&["drop"][..], "--all"),
        (&["drop", "--yes"], "--all"),
        (&["drop", "--all"], "add --yes"),
        (&["drop", "--kind", "rows"], "add --yes"),
        (&["drop", "--kind", "rows", "--all", "--yes"], "exclude each other"),
        (&["redrive"], "--all"),
    ] {
        let output = fixture.run(arguments).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(words), "{arguments:?}: {}", said(&output));
    }
    fixture.holds(&dead_letters).await;
}

/// Runs `drop --kind rows` on its own terminal and types `answer`.
async fn drop_on_a_terminal(fixture: &DeadLetterFixture, answer: &str) -> Output {
    let spawn = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let mut child = Command::new("python3")
        .args(["-c", spawn, binary("millrace").to_str().unwrap(), "dead-letters", "drop", "--kind", "rows"])
        .envs(fixture.aws.variables("postgresql://nobody@127.0.0.1:1/none"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(answer.as_bytes()).await.unwrap();
    // The terminal stays open: a closed terminal is not an answer.
    let output = child.wait_with_output().await.unwrap();
    drop(stdin);
    output
}

#[tokio::test]
async fn on_a_terminal_drop_requires_the_answer_yes() {
    let fixture = DeadLetterFixture::new().await;
    let dead_letters: Vec<DeadLetter> = many(3);
    fixture.send(&dead_letters).await;
    for answer in ["n\n", "\n", "yesterday\n"] {
        let output = drop_on_a_terminal(&fixture, answer).await;
        let text = said(&output);
        assert!(text.contains("Drop 3 dead letters? [y/N]") && text.contains("nothing is dropped"), "{text}");
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert_eq!(fixture.counts().await, (3, 0), "{answer:?}");
    }
    let text = said(&drop_on_a_terminal(&fixture, "y\n").await);
    assert!(text.contains("3 dead letters dropped"), "{text}");
    assert_eq!(fixture.counts().await, (0, 0));
}
