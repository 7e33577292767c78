//! `millrace dead-letters list` and `export` return every dead letter once and delete none.

use millrace::Code;
use std::collections::BTreeSet;

use millrace::dead_letter::{DeadLetter, DeadLetterKind, Origin, Payload, Reason};
use millrace_tests::terminal::{assert_fits, cells, row};
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use super::fixture::{DeadLetterFixture, ids, many, minutes_ago, page_ids, rows_dead_letter, said};

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_dead_letters_are_listed_twice_and_all_are_there_afterwards() {
    let fixture = DeadLetterFixture::new().await;
    let dead_letters = many(10_000);
    fixture.send(&dead_letters).await;
    for _ in 0..2 {
        let list = fixture.json(&["list", "--json", "--limit", "10000"]).await;
        let listed = page_ids(&list);
        assert_eq!(listed.len(), 10_000);
        assert!(listed.into_iter().collect::<BTreeSet<_>>() == ids(&dead_letters));
        assert_eq!((&list["matching"], &list["messages"]), (&Value::from(10_000), &Value::from(10_000)));
        assert_eq!(list["complete"], true);
        assert_eq!(fixture.counts().await, (10_000, 0), "nothing stays hidden");
    }
    fixture.holds(&dead_letters).await;
}

#[tokio::test]
async fn pages_show_each_dead_letter_once_newest_first() {
    let fixture = DeadLetterFixture::new().await;
    let dead_letters = many(130);
    fixture.send(&dead_letters).await;
    // Copies are not counted as dead letters.
    fixture.send(&dead_letters[..3]).await;
    let mut listed: Vec<Uuid> = Vec::new();
    for (page, lines) in [("1", 50), ("2", 50), ("3", 30), ("4", 0)] {
        let list = fixture.json(&["list", "--json", "--page", page]).await;
        assert_eq!(list["dead_letters"].as_array().unwrap().len(), lines, "page {page}");
        assert_eq!(
            (&list["pages"], &list["matching"], &list["messages"]),
            (&Value::from(3), &Value::from(130), &Value::from(133))
        );
        listed.extend(page_ids(&list));
    }
    assert_eq!(listed, dead_letters.iter().map(|dead_letter| dead_letter.id).collect::<Vec<_>>());

    let text = fixture.said(&["list", "--limit", "2", "--page", "2"]).await;
    let lines: Vec<&str> = text.lines().collect();
    let short = |number: usize| dead_letters[number].id.to_string()[..8].to_owned();
    assert_eq!(cells(lines[0]), ["id", "age", "source", "reason", "message"], "{text}");
    assert_eq!(cells(lines[1])[..2], [short(2), "2 min".to_owned()], "{text}");
    assert_eq!(cells(lines[2])[..2], [short(3), "3 min".to_owned()], "{text}");
    assert!(!text.contains(&short(4)), "{text}");
    assert!(
        text.contains("wrong_column_count") && text.contains("130 dead letters in 133 messages"),
        "{text}"
    );
    assert!(text.contains("page 2 of 65"), "{text}");
}

fn mixed() -> Vec<DeadLetter> {
    let mut reason = Reason::new(Code::RefusedByModel, "invalid input syntax for type numeric");
    reason.sqlstate = Some("22P02".to_owned());
    reason.model = Some("orders".to_owned());
    let origin = Origin { batch_id: Some(Uuid::nil()), event_id: Some(7), ..Origin::default() };
    let payload = Payload::raw(b"{\"total\": \"free\"}");
    let mut event = DeadLetter::new(
        DeadLetterKind::Event,
        "event:1",
        Some("shop"),
        Some("orders"),
        reason,
        origin,
        payload,
    );
    event.first_failed_at = minutes_ago(60 * 24 * 3);
    let origin = Origin { delivery_id: Some("d1".to_owned()), ..Origin::default() };
    let mut delivery = DeadLetter::new(
        DeadLetterKind::Delivery,
        "webhook:github:d1",
        Some("github"),
        Some("push"),
        Reason::new(Code::LoneSurrogate, "half of a surrogate pair"),
        origin,
        Payload::raw(b"{}"),
    );
    delivery.first_failed_at = minutes_ago(30);
    vec![rows_dead_letter(0, Code::WrongType, Payload::raw(b"a")), delivery, event]
}

#[tokio::test]
async fn filters_select_dead_letters_and_totals_count_the_selected_ones() {
    let fixture = DeadLetterFixture::new().await;
    let dead_letters = mixed();
    fixture.send(&dead_letters).await;
    let [rows, delivery, event] = [dead_letters[0].id, dead_letters[1].id, dead_letters[2].id];
    let (first, second) = (rows.to_string(), event.to_string());
    for (arguments, expected) in [
        (&[][..], &[rows, delivery, event][..]),
        (&["--kind", "event"], &[event]),
        (&["--source", "shop"], &[rows, event]),
        (&["--source", "github/push"], &[delivery]),
        (&["--source", "github/pull"], &[]),
        (&["--code", "wrong_type"], &[rows]),
        (&["--model", "orders"], &[event]),
        (&["--older-than", "2d"], &[event]),
        (&["--newer-than", "15m"], &[rows]),
        (&["--older-than", "15m", "--newer-than", "1d"], &[delivery]),
        (&["--id", &first, "--id", &second], &[rows, event]),
        (&["--source", "shop", "--kind", "delivery"], &[]),
    ] {
        let list = fixture.json(&[&["list", "--json"], arguments].concat()).await;
        assert_eq!(page_ids(&list), expected, "{arguments:?}");
        let totals: u64 =
            list["totals"].as_array().unwrap().iter().map(|it| it["dead_letters"].as_u64().unwrap()).sum();
        assert_eq!(totals, expected.len() as u64, "{arguments:?}");
    }
    assert!(fixture.said(&["list", "--code", "none"]).await.contains("no such dead letter"));
    for wrong in [&["--kind", "row"][..], &["--older-than", "soon"], &["--id", "x"], &["--page", "0"]] {
        let output = fixture.run(&[&["list"], wrong].concat()).await;
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", said(&output));
    }
}

#[tokio::test]
async fn list_fits_the_terminal_and_shows_the_message_of_each_reason() {
    let fixture = DeadLetterFixture::new().await;
    let mut dead_letters = mixed();
    dead_letters[1].event_type = Some("a_very_long_event_type_of_a_sender/created".to_owned());
    dead_letters[1].reason.message =
        "half of a surrogate pair\nin 日本語 and more than a line of text".to_owned();
    fixture.send(&dead_letters).await;
    let short = |number: usize| dead_letters[number].id.to_string()[..8].to_owned();

    let list = fixture.said(&["list"]).await;
    assert_fits(&list, 80);
    assert!(list.contains("--wide shows every column and the whole text"), "{list}");
    let event = row(&list, "id", &short(2));
    assert_eq!(
        ["age", "source", "reason"].map(|name| event[name].as_str()),
        ["3 d", "shop/orders", "refused_by_model"]
    );
    let message = event["message"].strip_suffix('…').expect("cut");
    assert!(message.len() >= 27 && dead_letters[2].reason.message.starts_with(message), "{list}");
    let delivery = row(&list, "id", &short(1));
    assert!(
        delivery["source"].starts_with("github/a_ve") && delivery["reason"] == "lone_surrogate",
        "{list}"
    );

    let wide = fixture.said(&["list", "--wide"]).await;
    for (number, from) in [(0, "a.csv:2"), (1, "d1"), (2, "event 7")] {
        let dead_letter = &dead_letters[number];
        let id = dead_letter.id.to_string();
        let line = wide.lines().find(|line| line.contains(&id)).expect("a line");
        for words in [&dead_letter.reason.code, &dead_letter.reason.message.replace('\n', "⏎"), from] {
            assert!(line.contains(words), "{words}: {wide}");
        }
    }
    assert!(!wide.contains("--wide"), "{wide}");

    let mut narrow = fixture.command(&["list"]);
    let narrow = String::from_utf8(narrow.env("COLUMNS", "60").output().await.unwrap().stdout).unwrap();
    assert_fits(&narrow, 60);
    assert!(row(&narrow, "id", &short(2)).contains_key("message"), "{narrow}");
}

#[tokio::test]
async fn export_writes_dead_letters_unchanged_and_keeps_them() {
    let fixture = DeadLetterFixture::new().await;
    let mut dead_letters = mixed();
    dead_letters.push(rows_dead_letter(1, Code::InvalidUtf8, Payload::raw(b"\xff\x00,\xfe")));
    dead_letters.push(rows_dead_letter(
        2,
        Code::WrongType,
        Payload::raw("\u{ffff}\u{1b}[31m\r\n\"".as_bytes()),
    ));
    dead_letters.push(rows_dead_letter(3, Code::FieldTooLong, Payload::raw("ä".repeat(3_000).as_bytes())));
    // The largest is over the queue's limit, and therefore in the bucket.
    fixture.send_within(&dead_letters, 4_096).await;
    fixture.send(&dead_letters[..1]).await;
    fixture.send_body("rubbish").await;

    let folder = TempDir::new().unwrap();
    let file = folder.path().join("dead_letters.jsonl");
    let output = fixture.run(&["export", "--output", file.to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(output.stdout.is_empty());
    assert!(
        said(&output).contains("6 dead letters in ") && said(&output).contains("1 message left out"),
        "{}",
        said(&output)
    );
    let to_file = std::fs::read_to_string(&file).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing but the file");

    let to_output = fixture.said(&["export"]).await;
    for text in [&to_file, &to_output] {
        let mut exported: Vec<DeadLetter> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        exported.sort_by_key(|dead_letter| dead_letter.id);
        let mut sent = dead_letters.clone();
        sent.sort_by_key(|dead_letter| dead_letter.id);
        assert_eq!(exported, sent);
        for line in text.lines() {
            let problems = millrace_tests::dead_letters::problems(&serde_json::from_str(line).unwrap());
            assert!(problems.is_empty(), "{line}: {problems:?}");
        }
    }
    assert_eq!(fixture.said(&["export", "--kind", "event"]).await.lines().count(), 1);
    assert_eq!(fixture.counts().await, (8, 0));
}
