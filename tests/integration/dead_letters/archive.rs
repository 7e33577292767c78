//! Letters that were moved to the bucket: listed there, and put back.

use millrace::dead_letter::Letter;
use serde_json::Value;
use uuid::Uuid;

use super::site::{Site, ids, many, page_ids, said};

/// Archives letters as redrive does; the bodies stay as they were.
async fn archive(site: &Site, letters: &[Letter]) {
    for (index, letter) in letters.iter().enumerate() {
        let key = format!("dead-letters/archived/2026-11-{:02}/{}.json", 1 + index % 9, Uuid::now_v7());
        let put = site.aws.clients.s3.put_object().bucket(&site.aws.bucket).key(key);
        put.body(letter.to_body().into_bytes().into()).send().await.unwrap();
    }
}

#[tokio::test]
async fn archived_letters_are_listed_shown_and_put_back() {
    let site = Site::new().await;
    let mut letters = many(30);
    for letter in &mut letters[20..] {
        letter.source = Some("other".to_owned());
    }
    archive(&site, &letters).await;
    // What is in the queue is another matter.
    assert_eq!(site.json(&["list", "--json"]).await["matching"], 0);
    let list = site.json(&["list", "--json", "--archived"]).await;
    assert_eq!(page_ids(&list), letters.iter().map(|letter| letter.id).collect::<Vec<_>>());
    let id = letters[0].id.to_string();
    assert!(site.said(&["show", &id, "--archived"]).await.contains(&id));
    assert_eq!(site.run(&["show", &id]).await.status.code(), Some(1));

    let text = site.said(&["restore", "--source", "shop"]).await;
    assert!(text.contains("20 letters back in the dead-letter queue"), "{text}");
    let left = site.json(&["list", "--json", "--archived"]).await;
    assert_eq!(
        (left["matching"].clone(), left["totals"][0]["letters"].clone()),
        (Value::from(10), Value::from(10))
    );
    assert!(page_ids(&left).into_iter().collect::<std::collections::BTreeSet<_>>() == ids(&letters[20..]));
    assert!(site.said(&["restore", "--source", "shop"]).await.contains("no such letter"));
    let mut back = site.aws.letters().await;
    back.sort_by_key(|letter| letter.origin.record);
    assert_eq!(back, letters[..20]);
}

#[tokio::test]
async fn a_restore_that_cannot_send_keeps_the_archive() {
    let site = Site::new().await;
    let letters = many(3);
    archive(&site, &letters).await;
    let gone = format!("{}-gone", site.aws.dead_letter_queue_url);
    let mut command = site.command(&["restore"]);
    let output = command.env("MILLRACE_DEAD_LETTER_QUEUE_URL", gone).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert_eq!(site.json(&["list", "--json", "--archived"]).await["matching"], 3);
}
