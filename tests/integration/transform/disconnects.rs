//! The connection to the database ends at every point of a claim, and replies to commits are lost.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use millrace::database::{Connection, Settings};
use millrace_models::transform::{self, TransformLimits, TransformSummary};
use millrace_tests::proxy::{Direction, Proxy};
use uuid::Uuid;

use super::fixture::{ORDERS, TransformFixture};

/// Transforms through the proxy, on a new connection.
async fn transform_through(proxy: &Proxy, fixture: &TransformFixture) -> TransformSummary {
    // The proxy parses the protocol.
    let url = format!("{}?sslmode=disable", fixture.database.url_for("millrace_transform"));
    let url = proxy.instead_of(fixture.database.port(), &url);
    let mut connection = Connection::new(Settings::parse(&url).expect("a connection string"));
    let deadline = Instant::now() + Duration::from_secs(30);
    let limits =
        TransformLimits { bounds: fixture.bounds, idle_poll: Duration::ZERO, last_claim: deadline, deadline };
    let dead_letters = fixture.dead_letter_queue();
    transform::run(&mut connection, &fixture.project(), &dead_letters, Uuid::now_v7(), limits)
        .await
        .expect("transform")
}

/// A batch whose keys overlap with those of the last one, with a bad event and a repeated key.
async fn next_batch(fixture: &TransformFixture, number: i64) {
    let rows: Vec<(i64, String)> =
        (0..12).map(|row| (number * 7 + row % 11, format!("{number}.{row:02}"))).collect();
    let mut rows: Vec<(i64, &str, &str)> =
        rows.iter().map(|(id, total)| (*id, total.as_str(), "n")).collect();
    rows.insert(6, (number * 7, "poison", "bad"));
    fixture.orders(&rows).await;
}

#[tokio::test]
async fn a_connection_that_ends_at_any_point_loses_and_repeats_nothing() {
    const DISCONNECTS: u64 = 40;
    let fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
    let proxy = Proxy::start(fixture.database.port()).await;
    next_batch(&fixture, 0).await;
    transform_through(&proxy, &fixture).await;
    // The bytes that a run sends once its table exists.
    let before = proxy.forwarded(Direction::ToServer);
    next_batch(&fixture, 1).await;
    transform_through(&proxy, &fixture).await;
    let whole = proxy.forwarded(Direction::ToServer) - before;
    for cut in 0..DISCONNECTS {
        next_batch(&fixture, 2 + cut as i64).await;
        // A column is added meanwhile. Later interruptions then affect a changed table.
        if cut == DISCONNECTS / 2 {
            fixture.write("orders", &ORDERS.replace("from batch", ", 'x' as extra from batch"));
        }
        proxy.reset_after(Direction::ToServer, whole * cut / DISCONNECTS);
        transform_through(&proxy, &fixture).await;
    }
    assert!(proxy.faults() >= DISCONNECTS * 3 / 4, "{} of {DISCONNECTS} cuts came", proxy.faults());
    proxy.pass();
    transform_through(&proxy, &fixture).await;
    check(&fixture, 2 + DISCONNECTS).await;
}

#[tokio::test]
async fn a_commit_whose_reply_is_lost_is_not_repeated() {
    let fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
    let proxy = Proxy::start(fixture.database.port()).await;
    for number in 0..12 {
        next_batch(&fixture, number).await;
        // The first commits of a run: reading the catalog, deploying, claims.
        proxy.lose_commit_reply(1 + number as u64 % 6);
        transform_through(&proxy, &fixture).await;
        proxy.pass();
    }
    assert!(proxy.faults() > 0);
    transform_through(&proxy, &fixture).await;
    check(&fixture, 12).await;
}

/// The facts equal those of one pass. Every bad event is in the queue at least once and counted once.
async fn check(fixture: &TransformFixture, batches: u64) {
    fixture.check_orders().await;
    let quarantined = fixture.number("select sum(quarantined_count)::bigint from staging.batches").await;
    assert_eq!(quarantined as u64, batches);
    let dead_letters: BTreeSet<Uuid> =
        fixture.dead_letters().await.into_iter().map(|dead_letter| dead_letter.id).collect();
    assert_eq!(dead_letters.len() as u64, batches, "a dead letter that is repeated has the id it had");
    let events = "select sum(event_count)::bigint from pipeline.runs where activity = 'transform' and model = 'orders'";
    assert_eq!(fixture.number(events).await as u64, batches * 13, "each event is counted by one run");
}
