//! The connection to the database ends at every point of a claim, and replies to commits are lost.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use millrace::database::{Connection, Settings};
use millrace_models::transform::{self, Limits, Summary};
use millrace_tests::proxy::{Direction, Proxy};
use uuid::Uuid;

use super::site::{ORDERS, Site};

/// Transforms through the proxy, on a new connection.
async fn transform_through(proxy: &Proxy, site: &Site) -> Summary {
    // The proxy reads the protocol.
    let url = format!("{}?sslmode=disable", site.database.url_for("millrace_transform"));
    let url = proxy.instead_of(site.database.port(), &url);
    let mut connection = Connection::new(Settings::parse(&url).expect("a connection string"));
    let deadline = Instant::now() + Duration::from_secs(30);
    let limits = Limits { bounds: site.bounds, linger: Duration::ZERO, last_claim: deadline, deadline };
    let letters = site.dead_letters();
    transform::run(&mut connection, &site.project(), &letters, Uuid::now_v7(), limits)
        .await
        .expect("transform")
}

/// A batch whose keys overlap with the last one's, with a bad event and a key twice.
async fn next_batch(site: &Site, number: i64) {
    let rows: Vec<(i64, String)> =
        (0..12).map(|row| (number * 7 + row % 11, format!("{number}.{row:02}"))).collect();
    let mut rows: Vec<(i64, &str, &str)> =
        rows.iter().map(|(id, total)| (*id, total.as_str(), "n")).collect();
    rows.insert(6, (number * 7, "poison", "bad"));
    site.orders(&rows).await;
}

#[tokio::test]
async fn a_connection_that_ends_at_any_point_loses_and_repeats_nothing() {
    const CUTS: u64 = 40;
    let site = Site::new(&[("orders", ORDERS)]).await;
    let proxy = Proxy::start(site.database.port()).await;
    next_batch(&site, 0).await;
    transform_through(&proxy, &site).await;
    // What a run sends once its table is there.
    let before = proxy.forwarded(Direction::ToServer);
    next_batch(&site, 1).await;
    transform_through(&proxy, &site).await;
    let whole = proxy.forwarded(Direction::ToServer) - before;
    for cut in 0..CUTS {
        next_batch(&site, 2 + cut as i64).await;
        // A column is added on the way, and the cuts after that are those of a changed table.
        if cut == CUTS / 2 {
            site.write("orders", &ORDERS.replace("from batch", ", 'x' as extra from batch"));
        }
        proxy.reset_after(Direction::ToServer, whole * cut / CUTS);
        transform_through(&proxy, &site).await;
    }
    assert!(proxy.faults() >= CUTS * 3 / 4, "{} of {CUTS} cuts came", proxy.faults());
    proxy.pass();
    transform_through(&proxy, &site).await;
    check(&site, 2 + CUTS).await;
}

#[tokio::test]
async fn a_commit_whose_reply_is_lost_is_not_done_again() {
    let site = Site::new(&[("orders", ORDERS)]).await;
    let proxy = Proxy::start(site.database.port()).await;
    for number in 0..12 {
        next_batch(&site, number).await;
        // Of a run's first commits: reading the catalog, deploying, claims.
        proxy.lose_commit_reply(1 + number as u64 % 6);
        transform_through(&proxy, &site).await;
        proxy.pass();
    }
    assert!(proxy.faults() > 0);
    transform_through(&proxy, &site).await;
    check(&site, 12).await;
}

/// Facts as from one pass; every bad event is in the queue, at least once, and counted once.
async fn check(site: &Site, batches: u64) {
    site.check_orders().await;
    let quarantined = site.number("select sum(quarantined_count)::bigint from staging.batches").await;
    assert_eq!(quarantined as u64, batches);
    let letters: BTreeSet<Uuid> = site.letters().await.into_iter().map(|letter| letter.id).collect();
    assert_eq!(letters.len() as u64, batches, "a letter that is repeated has the id it had");
    let events = "select sum(event_count)::bigint from pipeline.runs where activity = 'transform' and model = 'orders'";
    assert_eq!(site.number(events).await as u64, batches * 13, "each event is counted by one run");
}
