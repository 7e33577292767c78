//! An unavailable dead-letter queue: no bad record may be committed as rejected before its dead letter is sent.

use std::collections::BTreeSet;
use std::time::Duration;

use millrace::dead_letter::DeadLetterKind;
use millrace_tests::postgres::number;
use millrace_tests::proxy::{Direction, Proxy};
use millrace_tests::runtime_api::Function;
use serde_json::{Value, json};

use crate::stack::{LONG, Stack, accepted, id};

/// Time for a few attempts, all of which fail.
const SHORT: Duration = Duration::from_secs(5);

/// 300 records. From `first_bad` on, every tenth has one field too many.
fn file(first_bad: usize) -> String {
    let mut text = "id,name\n".to_owned();
    for row in 0..300 {
        let more = if row >= first_bad && row % 10 == 0 { ",surplus" } else { "" };
        text.push_str(&format!("{row},name {row}{more}\n"));
    }
    text
}

/// The compiled function with proxies before its database and its queues.
struct Proxies {
    stack: Stack,
    database: Proxy,
    queues: Proxy,
    function: Function,
}

impl Proxies {
    async fn new() -> Proxies {
        let stack = Stack::new().await;
        let database = Proxy::start(stack.database.port()).await;
        let queues = Proxy::start(stack.aws.port()).await;
        let url = database.instead_of(stack.database.port(), &stack.database.url_for("millrace_ingest"));
        let settings = [
            ("DATABASE_URL", &*url),
            ("AWS_ENDPOINT_URL_SQS", &format!("http://127.0.0.1:{}", queues.port())),
            ("MILLRACE_CHUNK_ROWS", "100"),
        ];
        let function = stack.function(&settings).await;
        Proxies { stack, database, queues, function }
    }

    async fn put(&self, file: String) -> Value {
        self.stack.aws.put("incoming/shop/orders/a.csv", file).await
    }

    /// The response leaves the message in its queue and is sent before the deadline.
    async fn stays(&self, event: &Value) {
        let answer = tokio::time::timeout(SHORT, self.function.invoke(event, SHORT)).await;
        let answer = answer.expect("an answer before the deadline").response();
        assert_eq!(answer, json!({ "batchItemFailures": [{ "itemIdentifier": id(event) }] }));
    }

    /// Every row is stored, every dead letter is sent at least once, and the counts agree.
    async fn is_complete(&self, event: &Value, bad: usize) {
        assert_eq!(self.function.invoke(event, LONG).await.response(), accepted());
        assert_eq!(self.stack.rows().await, 300 - bad as i64);
        let mut dead_letters = self.stack.aws.dead_letters().await;
        dead_letters.retain(|dead_letter| dead_letter.kind == DeadLetterKind::Rows);
        let records: BTreeSet<Option<u64>> =
            dead_letters.iter().map(|dead_letter| dead_letter.origin.record).collect();
        let ids: BTreeSet<String> =
            dead_letters.iter().map(|dead_letter| dead_letter.id.to_string()).collect();
        assert_eq!((records.len(), ids.len()), (bad, bad), "a repeated dead letter has the same id");
        let rejected = "select sum(rejected_count)::bigint from staging.batches";
        assert_eq!(number(&self.stack.owner, rejected).await, bad as i64);
        let records = "select record_count from staging.load_results where outcome = 'loaded'";
        assert_eq!(number(&self.stack.owner, records).await, 300);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_until_both_queue_and_database_are_available() {
    let proxies = Proxies::new().await;
    let event = proxies.put(file(0)).await;
    proxies.database.refuse();
    proxies.queues.refuse();
    proxies.stays(&event).await;
    assert_eq!((proxies.stack.rows().await, proxies.stack.aws.dead_letters().await.len()), (0, 0));
    // First only the queue recovers, then only the database.
    proxies.queues.pass();
    proxies.stays(&event).await;
    proxies.database.pass();
    proxies.queues.refuse();
    proxies.stays(&event).await;
    assert_eq!(proxies.stack.rows().await, 0);
    proxies.queues.pass();
    proxies.is_complete(&event, 30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_with_bad_records_waits_for_the_queue_and_others_do_not() {
    let proxies = Proxies::new().await;
    let event = proxies.put(file(200)).await;
    proxies.queues.refuse();
    proxies.stays(&event).await;
    assert_eq!(proxies.stack.rows().await, 200, "the chunks without bad records");
    assert_eq!(number(&proxies.stack.owner, "select count(*) from staging.batches").await, 2);
    assert_eq!(number(&proxies.stack.owner, "select count(*) from staging.load_results").await, 0);
    proxies.queues.pass();
    proxies.is_complete(&event, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_is_met_when_the_queue_does_not_respond() {
    let proxies = Proxies::new().await;
    let event = proxies.put(file(0)).await;
    proxies.queues.stop(&[Direction::ToServer, Direction::ToClient]);
    proxies.stays(&event).await;
    // The same holds for a file that becomes a dead letter as a whole.
    let other = proxies.stack.aws.put("incoming/nowhere.csv", "a,b\n1,2\n").await;
    proxies.stays(&other).await;
    assert_eq!(proxies.stack.rows().await, 0);
    proxies.queues.pass();
    proxies.is_complete(&event, 30).await;
}
