//! PostgreSQL away, read-only, silent or cut off, alone or with the queue: no 2xx without a place for the delivery.

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
/// Time for an answer while something is away; the function divides it among database and queue.
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

    /// Has the flush prepared, which takes the tables' locks too, and leaves nothing behind: what waits for a lock from now
    /// on is a flush.
    async fn prepare(&self) {
        self.client.deliver("orders", "first of all", "{}").await.was(202, "stored");
        self.fixture
            .execute("truncate staging.events, staging.batches, staging.repairs, staging.deliveries")
            .await;
    }

    /// Lets the flush that waits for `block` go on, so that it is committed and the function never hears of it.
    async fn commit_unheard(&self, block: &Client) {
        self.fixture.until_blocked().await;
        self.database.stop(&[Direction::ToClient]);
        block.batch_execute("commit").await.expect("release");
    }

    async fn dead_letter_count(&self) -> usize {
        self.fixture.aws.dead_letters().await.len()
    }
}

/// Long before the deadline: the database timeout ends the wait, and it is a fraction of this.
async fn soon<T>(answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(12), answer)
        .await
        .expect("an answer once the timeout has passed")
}

#[tokio::test(flavor = "multi_thread")]
async fn with_postgres_away_a_delivery_is_queued_whole_and_with_it_back_the_next_is_stored() {
    let proxies = Proxies::new("300 ms").await;
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

    // What is no text comes back as the same bytes.
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
async fn with_postgres_silent_a_delivery_is_queued_and_with_it_back_the_next_is_stored() {
    let proxies = Proxies::new("500 ms").await;
    proxies.client.deliver("orders", "before", r#"{"n":0}"#).await.was(202, "stored");
    proxies.database.stop(&BOTH);
    let ids = ["a", "b", "c"];
    let replies = soon(join_all(ids.map(|id| proxies.client.deliver("orders", id, "{}")))).await;
    for reply in &replies {
        reply.was(202, "queued");
    }
    assert_eq!(proxies.dead_letter_count().await, 3);
    // What was sent into the silence is forgotten by the network, and new connections work.
    proxies.database.strand();
    proxies.database.pass();
    proxies.client.deliver("orders", "after", r#"{"n":1}"#).await.was(202, "stored");
    assert_eq!(proxies.fixture.counted().await, [(0, 1), (1, 1)].into());
    proxies.fixture.reconciles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_postgres_and_the_queue_away_nothing_is_acknowledged() {
    let proxies = Proxies::new("300 ms").await;
    let headers = signed("orders", "1", b"{}");
    let event = request("POST", "/webhooks/orders", &headers, b"{}", Form::Plain);
    proxies.database.refuse();
    proxies.queue.refuse();
    let reply = proxies.client.send(&event, SHORT).await;
    reply.is_problem(503, "unavailable");
    assert!(reply.headers["retry-after"].parse::<u32>().expect("seconds") > 0);
    // A queue that says nothing is no other case. Where a record is bad there is no place for its dead letter, and so none for
    // the delivery.
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
    // The database alone is enough for whoever is good.
    proxies.client.send(&event, SHORT).await.was(202, "stored");
    proxies.queue.reset();
    proxies.queue.pass();
    proxies.client.send(&bad, SHORT).await.was(202, "stored");
    assert_eq!(proxies.fixture.row_count().await, 2);
    // What was sent into the silence may have come through all the same: a repeated dead letter has the same id.
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
async fn a_database_that_only_reads_takes_nothing_until_it_writes_again() {
    let proxies = Proxies::new("300 ms").await;
    proxies.client.deliver("orders", "before", "{}").await.was(202, "stored");
    let name = proxies.fixture.database.name();
    proxies.fixture.execute(&format!("alter database {name} set default_transaction_read_only = on")).await;
    assert_eq!(proxies.fixture.end_sessions().await, 1);
    proxies.client.deliver("orders", "meanwhile", "{}").await.was(202, "queued");
    let dead_letters = proxies.fixture.aws.dead_letters().await;
    assert_eq!((dead_letters.len(), dead_letters[0].reason.code.as_str()), (1, "database_read_only"));
    // A fail-over is over without a word to those who are connected.
    proxies.fixture.execute(&format!("alter database {name} reset default_transaction_read_only")).await;
    proxies.client.deliver("orders", "after", "{}").await.was(202, "stored");
    assert_eq!(proxies.fixture.row_count().await, 2);
}

/// A flush that waits in the server, with `count` deliveries in it or behind it, while `fault` happens.
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

/// Every delivery is a row, once; as a duplicate it was known to be.
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
async fn a_connection_cut_in_mid_flush_loses_nothing_and_stores_nothing_twice() {
    let proxies = Proxies::new("5 s").await;
    // The old session still waits for the lock when the retry comes, and both go on at once.
    let replies = in_mid_flush(&proxies, 20, async || proxies.database.reset()).await;
    all_are_stored_once(&proxies, &replies).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_terminated_in_mid_flush_loses_nothing_and_stores_nothing_twice() {
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
    // Who asks again cannot tell whose commit it was; that it is there is what matters.
    reply.was(202, "duplicate");
    all_are_stored_once(&proxies, &[reply]).await;
    proxies.client.deliver("orders", "1", "{}").await.was(202, "duplicate");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_reply_never_comes_is_in_the_database_and_its_dead_letter_says_by_what_it_is_known() {
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
async fn a_delivery_that_waited_too_long_is_in_the_queue_and_not_in_the_database_as_well() {
    let proxies = Proxies::new("20 s").await;
    let block = proxies.fixture.block().await;
    let first = proxies.client.deliver("orders", "first", r#"{"n":0}"#);
    let second = async {
        proxies.fixture.until_blocked().await;
        // Behind the first one, which waits in the server, and with less time.
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
