//! Bodies at and above the size limit, and dead letters above the queue's limit.

use millrace::dead_letter::{DeadLetter, DeadLetterKind, Payload};
use millrace_tests::proxy::Proxy;
use serde_json::json;

use super::client::Form;
use super::fixture::{WebhookFixture, signed};

/// A JSON object of exactly `bytes` bytes, distinct for each `n`.
fn object(bytes: usize, mark: char) -> String {
    let frame = r#"{"text":""}"#.len();
    format!(r#"{{"text":"{}{mark}"}}"#, "x".repeat(bytes - frame - 1))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_one_byte_below_the_limit_is_stored_whole_and_at_the_limit_it_is_refused() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[]).await;
    let limit = 6 << 20;
    for (form, mark) in [(Form::Plain, 'p'), (Form::Base64, 'b')] {
        let large = object(limit, mark);
        let headers = signed("orders", "over", large.as_bytes());
        let reply = client.post("orders", &headers, large.as_bytes(), form).await;
        reply.is_problem(413, "body-too-large");
        let whole = object(limit - 1, mark);
        let headers = signed("orders", &format!("whole-{mark}"), whole.as_bytes());
        assert_eq!(client.post("orders", &headers, whole.as_bytes(), form).await.event_ids().len(), 1);
        let text = &whole[r#"{"text":""#.len()..whole.len() - 2];
        let query = "select count(*) from raw_events where payload = jsonb_build_object('text', $1::text)";
        let found = fixture.owner.query_one(query, &[&text]).await.expect("look for it");
        assert_eq!(found.get::<_, i64>(0), 1, "{form:?}");
    }
    assert_eq!(fixture.row_count().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_is_too_heavy_for_the_queue_points_to_an_object_that_holds_it() {
    let fixture = WebhookFixture::new().await;
    let database = Proxy::start(fixture.database.port()).await;
    let url = database.instead_of(fixture.database.port(), &fixture.database.url_for("millrace_ingest"));
    let client = fixture.open(&[("DATABASE_URL", &url), ("MILLRACE_DATABASE_TIMEOUT", "300 ms")]).await;
    database.refuse();
    let body = object(2 << 20, 'q');
    client.deliver("orders", "heavy", &body).await.was(202, "queued");
    let dead_letters = fixture.aws.dead_letters().await;
    let [dead_letter] = &dead_letters[..] else { panic!("{} dead letters", dead_letters.len()) };
    let Payload::Pointer { pointer } = &dead_letter.payload else { panic!("no pointer") };
    assert_eq!((dead_letter.kind, &pointer.bucket), (DeadLetterKind::Delivery, &fixture.aws.bucket));
    assert!(pointer.key.starts_with("dead-letters/"), "{}", pointer.key);
    let object = fixture.aws.clients.s3.get_object().bucket(&pointer.bucket).key(&pointer.key).send().await;
    let bytes = object.expect("the object").body.collect().await.expect("its bytes").into_bytes();
    assert_eq!(bytes.len() as u64, pointer.bytes);
    let whole: DeadLetter = serde_json::from_slice(&bytes).expect("a dead letter");
    let Payload::Json(payload) = &whole.payload else { panic!("no JSON") };
    assert_eq!((payload["body"].as_str(), &payload["dedupe_keys"]), (Some(&*body), &json!(["id:heavy"])));
    assert_eq!(
        (whole.id, &whole.origin, &whole.reason),
        (dead_letter.id, &dead_letter.origin, &dead_letter.reason)
    );
    // Only a dead letter above the limit is stored as an object.
    client.deliver("orders", "light", "{}").await.was(202, "queued");
    let pointers = fixture.aws.dead_letters().await;
    let pointers =
        pointers.iter().filter(|dead_letter| matches!(dead_letter.payload, Payload::Pointer { .. }));
    assert_eq!(pointers.count(), 1);
}
