//! Faults of the network between the function and PostgreSQL: lost replies, lost packets, refusals, resets.

use std::time::{Duration, Instant};

use millrace::batch::{Batch, BatchBounds, BatchBuilder};
use millrace::clock::ReceivedAt;
use millrace::database::{Connection, Settings};
use millrace::ledger::{LedgerEntry, Staged, stage};
use millrace::{Code, Kind, Result};
use millrace_tests::postgres::{Database, number};
use millrace_tests::proxy::{Direction, Proxy};
use serde_json::json;
use tokio_postgres::Client;

use crate::stack::{LONG, Stack, accepted, id, orders};

/// A short timeout, instead of fifteen seconds.
const STALL: Duration = Duration::from_secs(1);

/// About 3 MB, more than the socket buffers hold.
const ROWS: usize = 3_000;

fn batch(rows: usize) -> Batch {
    let mut builder = BatchBuilder::new("shop", "orders", ReceivedAt::now(), BatchBounds::default());
    for row in 0..rows {
        builder.push(format!(r#"{{"row":{row},"text":"{}"}}"#, "x".repeat(1_000)).as_bytes());
    }
    builder.finish()
}

fn entry() -> LedgerEntry<'static> {
    LedgerEntry { origin: "o".to_owned(), rejected_count: 0, repairs: &[], load_id: None, span: None }
}

fn within(time: Duration) -> Instant {
    Instant::now() + time
}

fn committed(rows: usize) -> Staged {
    Staged::Committed { staged_count: rows as u64, rejected_count: 0 }
}

/// A database behind a proxy.
struct ProxiedDatabase {
    database: Database,
    proxy: Proxy,
    owner: Client,
}

impl ProxiedDatabase {
    async fn new() -> ProxiedDatabase {
        let database = Database::new().await;
        let proxy = Proxy::start(database.port()).await;
        let owner = database.owner().await;
        ProxiedDatabase { database, proxy, owner }
    }

    fn connection(&self) -> Connection {
        let settings = Settings::parse(&through(&self.proxy, &self.database)).expect("a connection string");
        Connection::new(settings.stall_timeout(STALL))
    }

    async fn stage(&self, batch: &Batch, deadline: Instant) -> Result<Staged> {
        stage(&mut self.connection(), batch, &entry(), deadline, async |_| Ok(())).await
    }

    async fn holds(&self, rows: usize) {
        assert_eq!(number(&self.owner, "select count(*) from raw_events").await, rows as i64);
        assert_eq!(number(&self.owner, "select count(*) from staging.events").await, rows as i64);
        let staged = "select coalesce(sum(staged_count), 0)::bigint from staging.batches";
        assert_eq!(number(&self.owner, staged).await, rows as i64);
    }

    /// Waits until `sql`, a query for a boolean, is true.
    async fn until(&self, sql: &str) {
        for _ in 0..400 {
            if self.owner.query_one(sql, &[]).await.expect(sql).get(0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("not within ten seconds: {sql}");
    }

    /// Ends the sessions whose client has vanished, as the server's keepalives do after a while.
    async fn end_sessions_in(&self, state: &str) {
        self.owner
            .execute(
                "select pg_terminate_backend(pid) from pg_stat_activity
                 where usename = 'millrace_ingest' and datname = current_database() and wait_event = $1",
                &[&state],
            )
            .await
            .expect("end sessions");
    }
}

fn through(proxy: &Proxy, database: &Database) -> String {
    let url = proxy.instead_of(database.port(), &database.url_for("millrace_ingest"));
    format!("{url}?sslmode=disable")
}

#[tokio::test]
async fn a_commit_whose_reply_is_lost_is_found_by_the_retry() {
    let proxied = ProxiedDatabase::new().await;
    proxied.proxy.lose_commit_reply(1);
    let mut dead_letters_sent = 0;
    let staged = stage(&mut proxied.connection(), &batch(10), &entry(), within(LONG), async |_| {
        dead_letters_sent += 1;
        Ok(())
    })
    .await
    .expect("stage");
    assert_eq!((staged, dead_letters_sent, proxied.proxy.faults()), (committed(10), 1, 1));
    proxied.holds(10).await;
    // The same batch from another worker later is a duplicate.
    assert_eq!(proxied.stage(&batch(10), within(LONG)).await.expect("stage"), Staged::Duplicate);
    proxied.holds(10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_loaded_once_whichever_commit_reply_is_lost() {
    let stack = Stack::new().await;
    let proxy = Proxy::start(stack.database.port()).await;
    let function = stack
        .function(&[
            ("DATABASE_URL", &through(&proxy, &stack.database)),
            ("MILLRACE_CHUNK_ROWS", "100"),
            ("MILLRACE_COPY_CONNECTIONS", "1"),
        ])
        .await;
    let mut file = orders(0);
    let mut lost = 0;
    for load in 1.. {
        let part = orders(300).replace("\nname ", &format!("\nname {load} "));
        let event = stack.aws.put(&format!("incoming/shop/orders/{load}.csv"), part.clone()).await;
        proxy.lose_commit_reply(load);
        assert_eq!(function.invoke(&event, LONG).await.response(), accepted());
        file.push_str(part.split_once('\n').expect("a header").1);
        stack.holds(&file).await;
        if proxy.faults() == lost {
            break;
        }
        lost = proxy.faults();
        assert_eq!(function.invoke(&event, LONG).await.response(), accepted());
    }
    // The load is looked up, recorded, staged in three chunks and finished, at the least.
    assert!(lost >= 6, "{lost} replies lost");
    stack.holds(&file).await;
}

#[tokio::test]
async fn packets_that_vanish_in_the_middle_of_copy_end_in_an_error_and_nothing_is_staged() {
    let proxied = ProxiedDatabase::new().await;
    proxied.proxy.stop_after(Direction::ToServer, 200_000);
    let deadline = within(Duration::from_secs(4));
    let staging = proxied.stage(&batch(ROWS), deadline).await;
    let error = staging.expect_err("the network is away");
    assert_eq!(error.kind(), Kind::Transient);
    assert_eq!(proxied.proxy.faults(), 1, "it broke before the COPY");
    proxied.holds(0).await;
}

#[tokio::test]
async fn a_connection_lost_in_the_middle_of_copy_is_replaced_within_the_deadline() {
    let proxied = ProxiedDatabase::new().await;
    proxied.proxy.stop_after(Direction::ToServer, 200_000);
    let batch = batch(ROWS);
    let recovery = async {
        proxied.proxy.reached(1).await;
        proxied.proxy.strand();
        proxied.proxy.pass();
        // The abandoned session still holds the claim, and the retry waits for it.
        proxied.until("select count(*) > 0 from pg_stat_activity where usename = 'millrace_ingest' and datname = current_database() and wait_event_type = 'Lock'")
            .await;
        proxied.end_sessions_in("ClientRead").await;
    };
    let (staged, ()) = futures_util::join!(proxied.stage(&batch, within(LONG)), recovery);
    assert_eq!(staged.expect("stage"), committed(ROWS));
    proxied.holds(ROWS).await;
}

#[tokio::test]
async fn a_call_succeeds_when_the_network_recovers_within_the_deadline() {
    let proxied = ProxiedDatabase::new().await;
    proxied.proxy.stop_after(Direction::ToServer, 200_000);
    let batch = batch(ROWS);
    let recovery = async {
        proxied.proxy.reached(1).await;
        // The attempt times out, and its packets arrive late.
        tokio::time::sleep(STALL * 2).await;
        proxied.proxy.pass();
    };
    let (staged, ()) = futures_util::join!(proxied.stage(&batch, within(LONG)), recovery);
    assert_eq!(staged.expect("stage"), committed(ROWS));
    proxied.holds(ROWS).await;
}

#[tokio::test]
async fn a_commit_that_arrived_before_a_network_outage_is_not_repeated() {
    let proxied = ProxiedDatabase::new().await;
    let batch = batch(10);
    let recovery = async {
        proxied.until("select count(*) = 10 from raw_events").await;
        // Its reply never arrives. New connections work.
        proxied.proxy.strand();
        proxied.proxy.pass();
    };
    let mut connection = proxied.connection();
    let entry = entry();
    let staging = stage(&mut connection, &batch, &entry, within(LONG), async |_| {
        proxied.proxy.stop(&[Direction::ToClient]);
        Ok(())
    });
    let (staged, ()) = futures_util::join!(staging, recovery);
    assert_eq!(staged.expect("stage"), committed(10));
    proxied.holds(10).await;
}

#[tokio::test]
async fn a_lost_commit_is_repeated_after_the_server_ends_the_old_session() {
    let proxied = ProxiedDatabase::new().await;
    proxied
        .owner
        .batch_execute(&format!(
            "alter role millrace_ingest in database {} set idle_in_transaction_session_timeout = '2s'",
            proxied.database.name()
        ))
        .await
        .expect("a short timeout");
    let mut tries = 0;
    let staged = stage(&mut proxied.connection(), &batch(10), &entry(), within(LONG), async |_| {
        tries += 1;
        if tries == 1 {
            proxied.proxy.strand();
        }
        Ok(())
    })
    .await
    .expect("stage");
    assert_eq!((staged, tries), (committed(10), 2));
    proxied.holds(10).await;
}

#[tokio::test]
async fn sending_dead_letters_may_take_longer_than_the_database_timeout() {
    let proxied = ProxiedDatabase::new().await;
    let mut tries = 0;
    let staged = stage(&mut proxied.connection(), &batch(10), &entry(), within(LONG), async |_| {
        tries += 1;
        tokio::time::sleep(STALL * 2).await;
        Ok(())
    })
    .await
    .expect("stage");
    assert_eq!((staged, tries), (committed(10), 1));
}

#[tokio::test]
async fn a_refused_or_reset_connection_is_retried_until_the_deadline() {
    let proxied = ProxiedDatabase::new().await;
    proxied.proxy.refuse();
    let error = proxied.stage(&batch(10), within(Duration::from_secs(1))).await.expect_err("nobody listens");
    assert_eq!((error.kind(), error.code()), (Kind::Transient, Code::DatabaseUnreachable));
    proxied.holds(0).await;
    let batch = batch(ROWS);
    let recovery = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        proxied.proxy.pass();
        // The connection is reset again in the middle of COPY.
        proxied.proxy.reset_after(Direction::ToServer, 500_000);
    };
    let (staged, ()) = futures_util::join!(proxied.stage(&batch, within(LONG)), recovery);
    assert_eq!((staged.expect("stage"), proxied.proxy.faults()), (committed(ROWS), 1));
    proxied.holds(ROWS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_without_a_network_responds_before_its_deadline_and_continues_later() {
    let stack = Stack::new().await;
    let proxy = Proxy::start(stack.database.port()).await;
    let settings = [
        ("DATABASE_URL", &*through(&proxy, &stack.database)),
        ("MILLRACE_CHUNK_ROWS", "500"),
        ("MILLRACE_DATABASE_STALL_TIMEOUT", "1s"),
    ];
    let function = stack.function(&settings).await;
    let file = orders(20_000);
    let event = stack.aws.put("incoming/shop/orders/a.csv", file.clone()).await;
    proxy.stop_after(Direction::ToServer, 400_000);
    let time = Duration::from_secs(8);
    let answer = tokio::time::timeout(time, function.invoke(&event, time)).await;
    let answer = answer.expect("an answer before the deadline").response();
    assert_eq!(answer, json!({ "batchItemFailures": [{ "itemIdentifier": id(&event) }] }));
    assert_eq!(proxy.faults(), 1, "it broke after the load");
    assert!(
        function
            .logs()
            .iter()
            .any(|line| line.contains("database_stalled") || line.contains("no response from the server"))
    );
    proxy.pass();
    assert_eq!(function.invoke(&event, LONG).await.response(), accepted());
    stack.holds(&file).await;
}
