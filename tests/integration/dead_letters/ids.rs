//! The commands accept the first characters of an id.

use millrace::Code;
use millrace::dead_letter::{DeadLetter, Payload};
use uuid::Uuid;

use super::fixture::{DeadLetterFixture, rows_dead_letter, said};

const IDS: [&str; 3] = [
    "3f0c8a56-6a8e-5b7c-9f0e-1d2c3b4a5968",
    "3f0c8a57-6a8e-5b7c-9f0e-1d2c3b4a5968",
    "41d2c3b4-6a8e-5b7c-9f0e-1d2c3b4a5968",
];

fn dead_letters() -> Vec<DeadLetter> {
    (0..)
        .zip(IDS)
        .map(|(number, id)| DeadLetter {
            id: Uuid::parse_str(id).unwrap(),
            ..rows_dead_letter(number, Code::WrongType, Payload::raw(b"a"))
        })
        .collect()
}

#[tokio::test]
async fn a_dead_letter_is_shown_by_the_unique_beginning_of_its_id() {
    let fixture = DeadLetterFixture::new().await;
    let dead_letters = dead_letters();
    fixture.send(&dead_letters).await;
    // A copy has the same id.
    fixture.send(&dead_letters[..1]).await;
    for (prefix, id) in [("3f0c8a56", IDS[0]), ("3F0C8A57-6A", IDS[1]), ("4", IDS[2]), (IDS[1], IDS[1])] {
        let shown = fixture.said(&["show", prefix]).await;
        assert!(shown.contains(&format!("id            {id}")), "{prefix}: {shown}");
    }
    assert_eq!(
        fixture.json(&["show", "3f0c8a56", "--json"]).await["message_ids"].as_array().unwrap().len(),
        2
    );
    for (arguments, code, words) in [
        (
            &["show", "3f0c"][..],
            2,
            &["`3f0c` is the beginning of 2 ids", IDS[0], IDS[1], "rows shop/orders wrong_type"][..],
        ),
        (&["show", "5"], 1, &["no dead letter has an id that begins with 5"]),
        (&["show", "4", "--archived"], 1, &["no archived dead letter"]),
        (&["show", "orders"], 2, &["write an id, or its first characters"]),
    ] {
        let output = fixture.run(arguments).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
        for words in words {
            assert!(said(&output).contains(words), "{arguments:?}: {words}: {}", said(&output));
        }
        assert!(!said(&output).contains(IDS[2]), "{}", said(&output));
    }
    assert_eq!(fixture.counts().await, (4, 0));
}

#[tokio::test]
async fn a_filter_by_the_beginning_of_an_id_selects_one_dead_letter() {
    let fixture = DeadLetterFixture::new().await;
    let dead_letters = dead_letters();
    fixture.send(&dead_letters).await;
    let listed = fixture.json(&["list", "--json", "--id", "41", "--id", "3f0c8a56"]).await;
    assert_eq!(listed["matching"], 2);
    assert_eq!(fixture.said(&["export", "--id", "41"]).await.lines().count(), 1);
    for (prefix, words) in
        [("3f", "is the beginning of 2 ids"), ("5", "no dead letter has an id that begins with `5`")]
    {
        let output = fixture.run(&["drop", "--id", prefix, "--yes"]).await;
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(words), "{}", said(&output));
    }
    assert_eq!(fixture.counts().await, (3, 0));
    assert!(fixture.said(&["drop", "--id", "41", "--yes"]).await.contains("1 dead letter dropped"));
    fixture.holds(&dead_letters[..2]).await;
}
