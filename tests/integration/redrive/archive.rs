//! Archives dead letters before the queue deletes them.

use millrace::Code;
use std::collections::BTreeSet;
use std::time::Duration;

use millrace::dead_letter::{ARCHIVE_PREFIX, DeadLetter, DeadLetterKind, Origin, Payload, Reason};
use millrace_cli::dead_letters::depth;
use serde_json::{Value, json};

use super::fixture::{LAX, RedriveFixture};
use crate::stack::LONG;

const MANY: usize = 60;

/// Dead letters as the functions send them, and one other message.
async fn with_dead_letters() -> (RedriveFixture, BTreeSet<String>) {
    let fixture = RedriveFixture::new(LAX, &[]).await;
    let mut bodies = BTreeSet::from(["no dead letter at all".to_owned()]);
    for number in 1..MANY {
        let reason = Reason::new(Code::WrongType, "not a number");
        let name = format!("s3://b/k?version=1@{number}");
        let (origin, payload) = (Origin::default(), Payload::raw(b"1,two"));
        let dead_letter = DeadLetter::new(
            DeadLetterKind::Rows,
            &name,
            Some("shop"),
            Some("orders"),
            reason,
            origin,
            payload,
        );
        bodies.insert(dead_letter.to_body());
    }
    for body in &bodies {
        fixture.send(body).await;
    }
    (fixture, bodies)
}

async fn archive(fixture: &RedriveFixture, days: u32) -> Value {
    let event = json!({ "action": "archive", "older_than_days": days });
    fixture.redriver(&[]).await.invoke(&event, LONG * 2).await.response()
}

/// The objects of the archive.
async fn archived(fixture: &RedriveFixture) -> Vec<String> {
    let s3 = &fixture.aws.clients.s3;
    let list = s3.list_objects_v2().bucket(&fixture.aws.bucket).prefix(ARCHIVE_PREFIX).send();
    let mut bodies = Vec::new();
    for object in list.await.expect("list the archive").contents() {
        let key = object.key().expect("a key");
        let day = key.strip_prefix(ARCHIVE_PREFIX).and_then(|rest| rest.split_once('/')).expect("a day").0;
        assert_eq!(day.len(), "2026-11-23".len(), "{key}");
        let object = s3.get_object().bucket(&fixture.aws.bucket).key(key).send().await.expect("an object");
        let bytes = object.body.collect().await.expect("its body").into_bytes();
        bodies.push(String::from_utf8(bytes.to_vec()).expect("text"));
    }
    bodies
}

async fn left(fixture: &RedriveFixture) -> i64 {
    depth(&fixture.aws.clients.sqs, &fixture.aws.dead_letter_queue_url).await.expect("depth")
}

#[tokio::test(flavor = "multi_thread")]
async fn only_old_dead_letters_are_archived_unchanged() {
    let (fixture, bodies) = with_dead_letters().await;
    assert_eq!(archive(&fixture, 1).await, json!({ "archived": 0, "left": MANY, "more": false }));
    assert_eq!(left(&fixture).await, MANY as i64);
    assert_eq!(archive(&fixture, 0).await, json!({ "archived": MANY, "left": 0, "more": false }));
    assert_eq!(left(&fixture).await, 0);
    let found = archived(&fixture).await;
    assert_eq!((found.len(), found.into_iter().collect::<BTreeSet<_>>()), (MANY, bodies));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_killed_at_any_moment_loses_nothing() {
    let (fixture, bodies) = with_dead_letters().await;
    for pause in [60, 120, 160, 200, 260] {
        let function = fixture.redriver(&[]).await;
        let event = json!({ "action": "archive", "older_than_days": 0 });
        let killed = async {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            function.kill();
        };
        futures_util::join!(function.invoke(&event, LONG * 2), killed);
    }
    // Messages that a killed process had received are visible again within a minute.
    for _ in 0..40 {
        archive(&fixture, 0).await;
        if left(&fixture).await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(left(&fixture).await, 0);
    // The name of an object is the id of its message, so an object that was written twice exists once.
    let found = archived(&fixture).await;
    assert_eq!((found.len(), found.into_iter().collect::<BTreeSet<_>>()), (MANY, bodies));
}
