//! PostgreSQL is unavailable, read-only, unresponsive or disconnected, alone or with the queue: no 2xx for a delivery
//! that is not durable.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use millrace::dead_letter::{DeadLetterKind, Payload};
use millrace_tests::proxy::{Direction, Proxy};
use serde_json::json;
use tokio_postgres::Client;

use super::client::{Form, WebhookClient, request};
use super::fixture::{WebhookFixture, signed};

const BOTH: [Direction; 2] = [Direction::ToServer, Direction::ToClient];
/// The time for a response during an outage. The function divides it between database and queue.
const SHORT: Duration = Duration::from_secs(5);

/// A function with proxies before its database and its queue.
struct Proxies {
    fixture: WebhookFixture,
    database: Proxy,
    queue: Proxy,
    client: WebhookClient,
}

impl Proxies {
    async fn new(timeout: &str) -> Proxies {
        let fixture = WebhookFixture::new().await;
        let database = Proxy::start(fixture.database.port()).await;
        let queue = Proxy::start(fixture.aws.port()).await;
        let url = database.instead_of(fixture.database.port(), &fixture.database.url_for("millrace_ingest"));
        let client = fixture
            .open(&[
                ("DATABASE_URL", &format!("{url}?sslmode=disable")),
                ("AWS_ENDPOINT_URL_SQS", &format!("http://127.0.0.1:{}", queue.port())),
                ("MILLRACE_DATABASE_TIMEOUT", timeout),
            ])
            .await;
        Proxies { fixture, database, queue, client }
    }

    /// Prepares the flush statement, which also takes the tables' locks, and leaves no data. A session that waits for a
    /// lock afterwards is a flush.
    async fn prepare(&self) {
        self.client.deliver("orders", "first of all", "{}").await.was(202, "stored");
        self.fixture
            .execute("truncate staging.events, staging.batches, staging.repairs, staging.deliveries")
            .await;
    }

    /// Lets the flush that waits for `block` commit, and drops its reply to the function.
    async fn commit_unheard(&self, block: &Client) {
        self.fixture.until_blocked().await;
        self.database.stop(&[Direction::ToClient]);
        block.batch_execute("commit").await.expect("release");
    }

    async fn dead_letter_count(&self) -> usize {
        self.fixture.aws.dead_letters().await.len()
    }
}

/// The database timeout, a fraction of this time, ends the wait long before the deadline.
async fn soon<T>(answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(12), answer)
        .await
        .expect("an answer once the timeout has passed")
}

#[tokio::test(flavor = "multi_thread")]
async fn without_postgres_a_delivery_is_queued_and_after_recovery_the_next_is_stored() {
    let proxies = Proxies::new("1 s").await;
    proxies.database.refuse();
    let body = r#"{"kind":"paid","text":"ü\u0041","n":1.50}"#;
    soon(proxies.client.deliver("orders", "1", body)).await.was(202, "queued");
    let dead_letters = proxies.fixture.aws.dead_letters().await;
    let [dead_letter] = &dead_letters[..] else { panic!("{dead_letters:?}") };
    assert_eq!(dead_letter.kind, DeadLetterKind::Delivery);
    assert_eq!(
        (dead_letter.source.as_deref(), dead_letter.event_type.as_deref()),
        (Some("orders"), Some("paid"))
    );
    assert_eq!((dead_letter.origin.delivery_id.as_deref(), dead_letter.origin.record), (Some("1"), None));
    assert_eq!(dead_letter.reason.code, "database_unreachable");
    let payload =
        json!({ "dedupe_keys": ["id:1"], "headers": { "content-type": "application/json" }, "body": body });
    assert_eq!(dead_letter.payload, Payload::Json(payload));

    // A body that is not text is kept as the same bytes.
    let body = b"{\"a\":\"\xff\xfe\"}";
    let headers = signed("fixed", "2", body);
    proxies.client.post("fixed", &headers, body, Form::Base64).await.was(202, "queued");
    let dead_letters = proxies.fixture.aws.dead_letters().await;
    let second = dead_letters
        .iter()
        .find(|dead_letter| dead_letter.source.as_deref() == Some("fixed"))
        .expect("its dead letter");
    let payload = json!({ "dedupe_keys": ["id:2"], "headers": { "content-type": "application/json" }, "body_base64": STANDARD.encode(body) });
    assert_eq!((&second.payload, dead_letters.len()), (&Payload::Json(payload), 2));

    proxies.database.pass();
    proxies.client.deliver("orders", "1", "{}").await.was(202, "stored");
    assert_eq!((proxies.fixture.row_count().await, proxies.dead_letter_count().await), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_unresponsive_postgres_a_delivery_is_queued_and_after_recovery_the_next_is_stored() {
    let proxies = Proxies::new("1 s").await;
    proxies.client.deliver("orders", "before", r#"{"n":0}"#).await.was(202, "stored");
    proxies.database.stop(&BOTH);
    let ids = ["a", "b", "c"];
    let replies = soon(join_all(ids.map(|id| proxies.client.deliver("orders", id, "{}")))).await;
    for reply in &replies {
        reply.was(202, "queued");
    }
    assert_eq!(proxies.dead_letter_count().await, 3);
    // Connections that carry dropped packets stay dead, and new connections work.
    proxies.database.strand();
    proxies.database.pass();
    proxies.client.deliver("orders", "after", r#"{"n":1}"#).await.was(202, "stored");
    assert_eq!(proxies.fixture.counted().await, [(0, 1), (1, 1)].into());
    proxies.fixture.reconciles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_postgres_and_queue_nothing_is_acknowledged() {
    let proxies = Proxies::new("1 s").await;
    let headers = signed("orders", "1", b"{}");
    let event = request("POST", "/webhooks/orders", &headers, b"{}", Form::Plain);
    proxies.database.refuse();
    proxies.queue.refuse();
    let reply = proxies.client.send(&event, SHORT).await;
    reply.is_problem(503, "unavailable");
    assert!(reply.headers["retry-after"].parse::<u32>().expect("seconds") > 0);
    // An unresponsive queue has the same effect. A delivery with a bad record cannot be stored, because the record's
    // dead letter cannot be sent.
    proxies.queue.pass();
    proxies.queue.stop(&BOTH);
    let body = br#"[{"n":1},{"n":2,"a":"\u0000"}]"#;
    let bad = request("POST", "/webhooks/orders", &signed("orders", "2", body), body, Form::Plain);
    let (reply, of_bad) =
        futures_util::join!(proxies.client.send(&event, SHORT), proxies.client.send(&bad, SHORT));
    reply.is_problem(503, "unavailable");
    of_bad.is_problem(503, "unavailable");
    proxies.database.pass();
    proxies.client.send(&bad, SHORT).await.is_problem(503, "unavailable");
    assert_eq!(proxies.fixture.row_count().await, 0);
    assert_eq!(proxies.fixture.number("select count(*) from staging.deliveries").await, 0);
    // The database alone suffices for deliveries without bad records.
    proxies.client.send(&event, SHORT).await.was(202, "stored");
    proxies.queue.reset();
    proxies.queue.pass();
    proxies.client.send(&bad, SHORT).await.was(202, "stored");
    assert_eq!(proxies.fixture.row_count().await, 2);
    // A request to the queue may have arrived despite the outage. A repeated dead letter has the same id.
    let dead_letters = proxies.fixture.aws.dead_letters().await;
    let bad: BTreeSet<_> = dead_letters
        .iter()
        .filter(|dead_letter| dead_letter.origin.record == Some(1))
        .map(|dead_letter| dead_letter.id)
        .collect();
    assert_eq!(bad.len(), 1, "{dead_letters:?}");
    proxies.fixture.reconciles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_stores_nothing_until_it_is_writable() {
    let proxies = Proxies::new("1 s").await;
    proxies.client.deliver("orders", "before", "{}").await.was(202, "stored");
    let name = proxies.fixture.database.name();
    proxies.fixture.execute(&format!("alter database {name} set default_transaction_read_only = on")).await;
    assert_eq!(proxies.fixture.end_sessions().await, 1);
    proxies.client.deliver("orders", "meanwhile", "{}").await.was(202, "queued");
    let dead_letters = proxies.fixture.aws.dead_letters().await;
    assert_eq!((dead_letters.len(), dead_letters[0].reason.code.as_str()), (1, "database_read_only"));
    // A fail-over does not notify the clients that are connected.
    proxies.fixture.execute(&format!("alter database {name} reset default_transaction_read_only")).await;
    proxies.client.deliver("orders", "after", "{}").await.was(202, "stored");
    assert_eq!(proxies.fixture.row_count().await, 2);
}

/// A flush with `count` deliveries waits in the server while `fault` happens.
async fn in_mid_flush(
    proxies: &Proxies,
    count: usize,
    fault: impl AsyncFnOnce(),
) -> Vec<super::client::Reply> {
    let block = proxies.fixture.block().await;
    let posts = (0..count).map(async |n: usize| {
        proxies.client.deliver("orders", &n.to_string(), &format!(r#"{{"n":{n}}}"#)).await
    });
    let faults = async {
        proxies.fixture.until_blocked().await;
        fault().await;
        block.batch_execute("commit").await.expect("release");
    };
    futures_util::join!(join_all(posts), faults).0
}

/// Every delivery is one row, and a duplicate is reported as one.
async fn all_are_stored_once(proxies: &Proxies, replies: &[super::client::Reply]) {
    for reply in replies {
        assert!(matches!(reply.became(), "stored" | "duplicate"), "{reply:?}");
    }
    let expected = (0..replies.len()).map(|n| (n as i64, 1)).collect();
    assert_eq!(proxies.fixture.counted().await, expected);
    proxies.fixture.reconciles().await;
    assert_eq!(proxies.dead_letter_count().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_reset_during_a_flush_loses_nothing_and_stores_nothing_twice() {
    let proxies = Proxies::new("5 s").await;
    // The old session still waits for the lock when the retry starts, and both continue concurrently.
    let replies = in_mid_flush(&proxies, 20, async || proxies.database.reset()).await;
    all_are_stored_once(&proxies, &replies).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_terminated_during_a_flush_loses_nothing_and_stores_nothing_twice() {
    let proxies = Proxies::new("5 s").await;
    let replies =
        in_mid_flush(&proxies, 20, async || assert_eq!(proxies.fixture.end_sessions().await, 1)).await;
    all_are_stored_once(&proxies, &replies).await;
    assert!(replies.iter().all(|reply| reply.became() == "stored"), "nothing was committed before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_reply_is_lost_is_found_by_the_retry() {
    let proxies = Proxies::new("5 s").await;
    proxies.prepare().await;
    let block = proxies.fixture.block().await;
    let faults = async {
        proxies.commit_unheard(&block).await;
        proxies.fixture.until("select count(*) = 1 from raw_events").await;
        proxies.database.reset();
        proxies.fixture
            .until("select count(*) = 0 from pg_stat_activity where usename = 'millrace_ingest' and datname = current_database()")
            .await;
        proxies.database.pass();
    };
    let (reply, ()) = futures_util::join!(proxies.client.deliver("orders", "1", r#"{"n":0}"#), faults);
    // A retry cannot tell which attempt committed. Only the commit itself matters.
    reply.was(202, "duplicate");
    all_are_stored_once(&proxies, &[reply]).await;
    proxies.client.deliver("orders", "1", "{}").await.was(202, "duplicate");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_without_a_reply_leaves_a_dead_letter_with_its_dedupe_keys() {
    let proxies = Proxies::new("1 s").await;
    proxies.prepare().await;
    let block = proxies.fixture.block().await;
    let faults = async {
        proxies.commit_unheard(&block).await;
    };
    let (reply, ()) = futures_util::join!(proxies.client.deliver("orders", "1", r#"{"n":0}"#), faults);
    reply.was(202, "queued");
    proxies.fixture.until("select count(*) = 1 from raw_events").await;
    let dead_letters = proxies.fixture.aws.dead_letters().await;
    let [dead_letter] = &dead_letters[..] else { panic!("{dead_letters:?}") };
    let Payload::Json(payload) = &dead_letter.payload else { panic!("{dead_letter:?}") };
    let key: String = proxies
        .fixture
        .owner
        .query_one("select delivery_key from staging.deliveries where source = 'orders'", &[])
        .await
        .expect("its key")
        .get(0);
    assert_eq!(payload["dedupe_keys"], json!([key]));
    proxies.database.strand();
    proxies.database.pass();
    proxies.client.deliver("orders", "1", r#"{"n":0}"#).await.was(202, "duplicate");
    assert_eq!(proxies.fixture.counted().await, [(0, 1)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_timed_out_is_in_the_queue_and_not_in_the_database() {
    let proxies = Proxies::new("20 s").await;
    let block = proxies.fixture.block().await;
    let first = proxies.client.deliver("orders", "first", r#"{"n":0}"#);
    let second = async {
        proxies.fixture.until_blocked().await;
        // It waits behind the first delivery, whose flush is blocked, and has less time.
        let body = br#"{"n":1}"#;
        let event = request("POST", "/webhooks/orders", &signed("orders", "second", body), body, Form::Plain);
        let reply = proxies.client.send(&event, Duration::from_secs(3)).await;
        block.batch_execute("commit").await.expect("release");
        reply
    };
    let (first, second) = futures_util::join!(first, second);
    first.was(202, "stored");
    second.was(202, "queued");
    proxies.client.deliver("orders", "third", r#"{"n":2}"#).await.was(202, "stored");
    assert_eq!(
        (proxies.fixture.counted().await, proxies.dead_letter_count().await),
        ([(0, 1), (2, 1)].into(), 1)
    );
    proxies.client.deliver("orders", "second", r#"{"n":1}"#).await.was(202, "stored");
}
