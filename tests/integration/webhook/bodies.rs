//! Records that cannot be stored: the rest of their delivery and the other deliveries are stored.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use http::HeaderMap;
use millrace::dead_letter::{DeadLetter, DeadLetterKind, Payload};
use serde_json::json;

use super::client::Form;
use super::fixture::{WebhookFixture, signed};

fn ndjson(source: &str, id: &str, body: &[u8]) -> HeaderMap {
    let mut headers = signed(source, id, body);
    headers.insert("content-type", "application/x-ndjson".parse().expect("a value"));
    headers
}

/// Record number, code and original record of the dead letters of records.
fn rejects(dead_letters: &[DeadLetter]) -> Vec<(u64, String, Vec<u8>)> {
    let read = |dead_letter: &DeadLetter| {
        assert_eq!(
            (dead_letter.kind, dead_letter.source.as_deref()),
            (DeadLetterKind::Delivery, Some("orders"))
        );
        let raw = match &dead_letter.payload {
            Payload::Json(text) => text.as_str().expect("text").as_bytes().to_vec(),
            Payload::Base64 { base64 } => STANDARD.decode(base64).expect("base64"),
            Payload::Pointer { .. } => panic!("a pointer"),
        };
        (dead_letter.origin.record.expect("a record's number"), dead_letter.reason.code.clone(), raw)
    };
    let mut rejects: Vec<_> = dead_letters.iter().map(read).collect();
    rejects.sort();
    rejects
}

#[tokio::test(flavor = "multi_thread")]
async fn events_refused_by_rules_of_the_user_are_dead_letters_and_the_others_are_stored() {
    let fixture = WebhookFixture::new().await;
    fixture
        .execute(
            "create unique index on staging.events (received_at, (payload->>'unique'));
            create function refuse() returns trigger language plpgsql as $$
            begin
                if new.payload ? 'raise' then raise 'the payload has %', new.payload; end if;
                if new.payload ? 'own' then raise 'own code' using errcode = 'MY001'; end if;
                return new;
            end $$;
            create trigger refuse before insert on staging.events for each row execute function refuse();",
        )
        .await;
    let client = fixture.open(&[]).await;
    let records = [
        r#"{"n":0}"#,
        r#"{"n":1,"raise":1}"#,
        r#"{"n":2,"unique":"a"}"#,
        r#"{"n":3,"own":1}"#,
        r#"{"n":4}"#,
        r#"{"n":5,"unique":"a"}"#,
    ];
    let body = records.join("\n");
    let headers = ndjson("orders", "id", body.as_bytes());
    let reply = client.post("orders", &headers, body.as_bytes(), Form::Plain).await;
    assert_eq!(reply.event_ids().len(), 3);
    assert_eq!(fixture.counted().await, [0, 2, 4].map(|n| (n, 1)).into());
    fixture.reconciles().await;
    let dead_letters = fixture.aws.dead_letters().await;
    let refused = |n: usize| (n as u64, "refused_by_database".to_owned(), records[n].as_bytes().to_vec());
    assert_eq!(rejects(&dead_letters), [refused(1), refused(3), refused(5)]);
    let mut states: Vec<_> = dead_letters.iter().map(|it| it.reason.sqlstate.clone().unwrap()).collect();
    states.sort();
    assert_eq!(states, ["23505", "MY001", "P0001"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_postgres_refuses_affects_only_its_own_delivery() {
    let fixture = WebhookFixture::new().await;
    fixture
        .execute("alter table staging.events add constraint no_poison check (not payload ? 'poison')")
        .await;
    let client = fixture.open(&[("MILLRACE_DATABASE_TIMEOUT", "15 s")]).await;
    // They gather behind a waiting flush, so that all are in one flush.
    let block = fixture.block().await;
    let first = client.deliver("orders", "first", r#"{"n":0}"#);
    let others = async {
        fixture.until_blocked().await;
        let posts = (1..=30).map(async |n: usize| {
            let poison = if n == 17 { r#","poison":"canary""# } else { "" };
            client.deliver("orders", &format!("id-{n}"), &format!(r#"{{"n":{n}{poison}}}"#)).await
        });
        let release = async {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            block.batch_execute("commit").await.expect("release");
        };
        futures_util::join!(join_all(posts), release).0
    };
    let (first, others) = futures_util::join!(first, others);
    first.was(202, "stored");
    for (n, reply) in (1..).zip(&others) {
        reply.was(202, if n == 17 { "queued" } else { "stored" });
    }
    assert_eq!(fixture.counted().await, (0..=30).filter(|n| *n != 17).map(|n| (n, 1)).collect());
    fixture.reconciles().await;
    let dead_letters = fixture.aws.dead_letters().await;
    let [dead_letter] = &dead_letters[..] else { panic!("{dead_letters:?}") };
    assert_eq!(dead_letter.origin.delivery_id.as_deref(), Some("id-17"));
    let record = br#"{"n":17,"poison":"canary"}"#.to_vec();
    assert_eq!(rejects(&dead_letters), [(0, "refused_by_database".to_owned(), record)]);
    assert_eq!(dead_letter.reason.sqlstate.as_deref(), Some("23514"));
    assert!(!format!("{:?}", dead_letter.reason).contains("canary"));
    assert!(client.function.logs().iter().all(|line| !line.contains("canary")));
    // The event is in the dead-letter queue, from which it is redriven: the same delivery is a duplicate.
    fixture.execute("alter table staging.events drop constraint no_poison").await;
    client.deliver("orders", "id-17", r#"{"n":17,"poison":"canary"}"#).await.was(202, "duplicate");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_lines_and_bad_elements_are_dead_lettered_alone() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[]).await;
    let bad: [(&[u8], &str); 4] = [
        (br#"{"n":1,"a":"x\u0000y"}"#, "nul_character"),
        (br#"{"n":1,"a":1e999999}"#, "number_out_of_range"),
        (br#"{"n":1,"a":"\ud800"}"#, "lone_surrogate"),
        (b"{\"n\":1,\"a\":\"\xff\"}", "invalid_utf8"),
    ];
    for (name, separator, open, close) in [("lines", "\n", "", "\n"), ("array", ",", "[", "]")] {
        let mut body = open.as_bytes().to_vec();
        let mut expected = Vec::new();
        for (number, (record, code)) in (0..).zip(bad) {
            // A good record before each bad one.
            body.extend_from_slice(format!(r#"{{"n":{number}}}{separator}"#).as_bytes());
            body.extend_from_slice(record);
            if number < 3 {
                body.extend_from_slice(separator.as_bytes());
            }
            expected.push((2 * number + 1, code.to_owned(), record.to_vec()));
        }
        body.extend_from_slice(close.as_bytes());
        let headers = match name {
            "lines" => ndjson("orders", name, &body),
            _ => signed("orders", name, &body),
        };
        let ids = client.post("orders", &headers, &body, Form::Base64).await.event_ids();
        let stored: BTreeSet<i64> = fixture.rows().await.iter().map(|row| row.id).collect();
        assert!(ids.len() == 4 && ids.iter().all(|id| stored.contains(id)), "{name}");
        let mut dead_letters = fixture.aws.dead_letters().await;
        dead_letters.retain(|dead_letter| dead_letter.origin.delivery_id.as_deref() == Some(name));
        assert_eq!(rejects(&dead_letters), expected, "{name}");
        client.post("orders", &headers, &body, Form::Base64).await.was(202, "duplicate");
    }
    assert_eq!(fixture.counted().await, (0..4).map(|n| (n, 2)).collect());
    let counts =
        // Duplicates and bad records do not count towards the payload bytes.
        "select count(*) from staging.batches where (read_count, staged_count, rejected_count, payload_bytes) = (8, 4, 4, 28)";
    assert_eq!((fixture.number(counts).await, fixture.batch_count().await), (2, 2));
    fixture.reconciles().await;
    // A repeated dead letter has the same id.
    let ids: BTreeSet<String> =
        fixture.aws.dead_letters().await.iter().map(|dead_letter| dead_letter.id.to_string()).collect();
    assert_eq!(ids.len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_of_only_bad_records_is_queued_counted_and_deduplicated() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[]).await;
    let body = r#"[{"a":"\u0000"},{"a":1e999999}]"#;
    client.deliver("orders", "1", body).await.was(202, "queued");
    client.deliver("orders", "1", body).await.was(202, "duplicate");
    assert_eq!(fixture.row_count().await, 0);
    let counts = "select count(*) from staging.batches where (read_count, staged_count, rejected_count, payload_bytes) = (2, 0, 2, 0)";
    assert_eq!(fixture.number(counts).await, 1);
    // A delivery without records is not a failure.
    assert_eq!(client.deliver("orders", "2", "[]").await.event_ids(), Vec::<i64>::new());
    client.deliver("orders", "2", "[]").await.was(202, "duplicate");
    assert_eq!(fixture.batch_count().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_characters_are_replaced_the_record_as_it_came_is_kept() {
    let fixture = WebhookFixture::new().await;
    let client = fixture.open(&[]).await;
    let body =
        b"{\"n\":1}\n{\"n\":2,\"a\":\"x\\u0000y\"}\n{\"n\":3,\"a\":\"\xff\"}\n{\"n\":4,\"a\":1e999999}\n";
    let ids = client.post("fixed", &ndjson("fixed", "1", body), body, Form::Base64).await.event_ids();
    assert_eq!(ids.len(), 3);
    let payloads: Vec<_> = fixture.rows().await.into_iter().map(|row| row.payload).collect();
    let replaced = json!([{ "n": 1 }, { "n": 2, "a": "x\u{fffd}y" }, { "n": 3, "a": "\u{fffd}" }]);
    assert_eq!(json!(payloads), replaced);
    let query = "select line, byte_offset, rule, raw from staging.repairs order by line";
    let repairs = fixture.owner.query(query, &[]).await.expect("read the repairs");
    let repairs: Vec<(i64, i64, String, Vec<u8>)> =
        repairs.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
    assert_eq!(
        repairs,
        [
            (2, 8, "nul_replaced".to_owned(), br#"{"n":2,"a":"x\u0000y"}"#.to_vec()),
            (3, 31, "invalid_utf8_replaced".to_owned(), b"{\"n\":3,\"a\":\"\xff\"}".to_vec()),
        ]
    );
    let dead_letters = fixture.aws.dead_letters().await;
    assert_eq!(dead_letters.len(), 1);
    assert_eq!(
        (dead_letters[0].reason.code.as_str(), dead_letters[0].origin.record),
        ("number_out_of_range", Some(3))
    );
    fixture.reconciles().await;
}
