//! Reading the queue and being interrupted: nothing is lost, and hidden messages become visible.

use millrace_tests::runtime_api::binary;
use tempfile::TempDir;

use super::fixture::{DeadLetterFixture, many, said, signal};

/// So many dead letters that reading them takes a while.
const DEAD_LETTERS: u64 = 3_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_killed_loses_nothing() {
    let fixture = DeadLetterFixture::new().await;
    let dead_letters = many(DEAD_LETTERS);
    fixture.send(&dead_letters).await;
    let mut child = fixture.command(&["list"]).spawn().unwrap();
    fixture.until("a list under way", |_, hidden| hidden > 100).await;
    signal(&child, "KILL");
    assert_eq!(child.wait().await.unwrap().code(), None, "it was killed");
    assert!(fixture.counts().await.1 > 0, "nothing was hidden any more: it had ended before");
    fixture.until("everything back by itself", |visible, hidden| (visible, hidden) == (3_000, 0)).await;
    fixture.holds(&dead_letters).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_list_makes_every_message_visible_immediately() {
    let fixture = DeadLetterFixture::new().await;
    let dead_letters = many(DEAD_LETTERS);
    fixture.send(&dead_letters).await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("dead_letters.jsonl");
    let id = dead_letters[0].id.to_string();
    for arguments in [
        &["list"][..],
        &["show", &id],
        &["export", "--output", file.to_str().unwrap()],
        &["drop", "--all", "--yes"],
    ] {
        for name in ["INT", "TERM"] {
            let child = fixture.command(arguments).spawn().unwrap();
            fixture.until("a look under way", |_, hidden| hidden > 100).await;
            signal(&child, name);
            let output = child.wait_with_output().await.unwrap();
            assert_eq!(output.status.code(), Some(3), "{arguments:?}: {}", said(&output));
            assert!(said(&output).contains("stopped; "), "{arguments:?}: {}", said(&output));
            assert_eq!(fixture.counts().await, (3_000, 0), "{arguments:?}");
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no half file");
    fixture.holds(&dead_letters).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_drop_leaves_the_other_dead_letters() {
    let fixture = DeadLetterFixture::new().await;
    let dead_letters = many(DEAD_LETTERS);
    fixture.send(&dead_letters).await;
    let child = fixture.command(&["drop", "--all", "--yes"]).spawn().unwrap();
    fixture.until("a drop under way", |visible, hidden| visible + hidden < 2_900).await;
    signal(&child, "INT");
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let text = said(&output);
    let said_dropped: usize = text
        .split("stopped; ")
        .nth(1)
        .and_then(|text| text.split(' ').next())
        .map(|figure| figure.replace(',', "").parse().unwrap())
        .unwrap();
    let (visible, hidden) = fixture.counts().await;
    assert_eq!(hidden, 0);
    assert!(visible > 0, "it had ended before");
    // The messages whose deletion was in progress are deleted and not counted.
    assert!(said_dropped <= 3_000 - visible, "{said_dropped} and {visible}: {text}");
    assert_eq!(fixture.receive_all().await.len(), visible);
}

#[tokio::test]
async fn a_dropped_scan_makes_its_messages_visible() {
    let fixture = DeadLetterFixture::new().await;
    let dead_letters = many(200);
    fixture.send(&dead_letters).await;
    let reader = fixture.aws.reader();
    let mut scan = reader.scan();
    assert!(scan.next().await.unwrap().is_some());
    drop(scan);
    reader.wait_for_scans().await;
    assert_eq!(fixture.counts().await, (200, 0));
    fixture.holds(&dead_letters).await;
}

#[tokio::test]
async fn a_missing_queue_is_reported() {
    let fixture = DeadLetterFixture::new().await;
    let mut command = fixture.command(&["list"]);
    let gone = format!("{}-gone", fixture.aws.dead_letter_queue_url);
    let output = command.env("MILLRACE_DEAD_LETTER_QUEUE_URL", gone).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("receive dead letters"), "{}", said(&output));

    let nobody = tokio::process::Command::new(binary("millrace"))
        .args(["dead-letters", "list"])
        .env_clear()
        .envs(fixture.aws.variables("postgresql://nobody@127.0.0.1:1/none"))
        .env("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        .output()
        .await
        .unwrap();
    assert_eq!(nobody.status.code(), Some(2), "{}", said(&nobody));
    assert!(said(&nobody).contains("is `make dev` running?"), "{}", said(&nobody));
}
