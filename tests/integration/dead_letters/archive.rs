//! Archived dead letters: listed in the bucket, and restored.

use millrace::dead_letter::DeadLetter;
use serde_json::Value;
use uuid::Uuid;

use super::fixture::{DeadLetterFixture, ids, many, page_ids, said};

/// Archives dead letters as redrive does, with unchanged bodies.
async fn archive(fixture: &DeadLetterFixture, dead_letters: &[DeadLetter]) {
    for (index, dead_letter) in dead_letters.iter().enumerate() {
        let key = format!("dead-letters/archived/2026-11-{:02}/{}.json", 1 + index % 9, Uuid::now_v7());
        let put = fixture.aws.clients.s3.put_object().bucket(&fixture.aws.bucket).key(key);
        put.body(dead_letter.to_body().into_bytes().into()).send().await.unwrap();
    }
}

#[tokio::test]
async fn archived_dead_letters_are_listed_shown_and_restored() {
    let fixture = DeadLetterFixture::new().await;
    let mut dead_letters = many(30);
    for dead_letter in &mut dead_letters[20..] {
        dead_letter.source = Some("other".to_owned());
    }
    archive(&fixture, &dead_letters).await;
    // The dead letters in the queue are not part of the archive.
    assert_eq!(fixture.json(&["list", "--json"]).await["matching"], 0);
    let list = fixture.json(&["list", "--json", "--archived"]).await;
    assert_eq!(page_ids(&list), dead_letters.iter().map(|dead_letter| dead_letter.id).collect::<Vec<_>>());
    let id = dead_letters[0].id.to_string();
    assert!(fixture.said(&["show", &id, "--archived"]).await.contains(&id));
    assert_eq!(fixture.run(&["show", &id]).await.status.code(), Some(1));

    let text = fixture.said(&["restore", "--source", "shop"]).await;
    assert!(text.contains("20 dead letters back in the dead-letter queue"), "{text}");
    let left = fixture.json(&["list", "--json", "--archived"]).await;
    assert_eq!(
        (left["matching"].clone(), left["totals"][0]["dead_letters"].clone()),
        (Value::from(10), Value::from(10))
    );
    assert!(
        page_ids(&left).into_iter().collect::<std::collections::BTreeSet<_>>() == ids(&dead_letters[20..])
    );
    assert!(fixture.said(&["restore", "--source", "shop"]).await.contains("no such dead letter"));
    let mut back = fixture.aws.dead_letters().await;
    back.sort_by_key(|dead_letter| dead_letter.origin.record);
    assert_eq!(back, dead_letters[..20]);
}

#[tokio::test]
async fn a_restore_that_cannot_send_keeps_the_archive() {
    let fixture = DeadLetterFixture::new().await;
    let dead_letters = many(3);
    archive(&fixture, &dead_letters).await;
    let gone = format!("{}-gone", fixture.aws.dead_letter_queue_url);
    let mut command = fixture.command(&["restore"]);
    let output = command.env("MILLRACE_DEAD_LETTER_QUEUE_URL", gone).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert_eq!(fixture.json(&["list", "--json", "--archived"]).await["matching"], 3);
}
