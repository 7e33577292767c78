//! The view raw_events: what its queries read of a ledger and of events over thirty days.

use millrace_tests::postgres::{Database, number};
use serde_json::Value;
use tokio_postgres::Client;

/// 30 days of 300 batches of 10 events. The two newest batches are unprocessed, and 9 batches are superseded.
async fn thirty_days() -> (Database, Client) {
    let database = Database::new().await;
    let owner = database.owner().await;
    owner
        .batch_execute(
            "select staging.ensure_partition((now() at time zone 'UTC')::date - d) from generate_series(0, 30) as d;
             create temp table made as
                 select gen_random_uuid() as batch_id, n, now() - interval '288 seconds' * n as received_at
                 from generate_series(0, 8999) as n;
             insert into staging.batches (batch_id, origin, source, event_type, received_at, read_count, staged_count,
                                          transformed_count, processed_at, superseded_at)
                 select batch_id, 'o' || n, 's', 'e', received_at, 10, 10, case when n < 2 then 0 else 10 end,
                        case when n >= 2 then now() end, case when n % 1000 = 500 then now() end
                 from made;
             insert into staging.events (received_at, batch_id, source, event_type, payload)
                 select received_at, batch_id, 's', 'e', jsonb_build_object('n', i)
                 from made, generate_series(1, 10) as i
                 order by received_at;",
        )
        .await
        .expect("thirty days of events");
    owner.batch_execute("vacuum (analyze) staging.events, staging.batches").await.expect("vacuum");
    (database, owner)
}

/// What a query read: rows of events and of the ledger, with those that a filter removed.
#[derive(Debug, Default)]
struct RowsRead {
    events: f64,
    batches: f64,
    returned: f64,
    /// Partitions of events that were scanned.
    partitions: usize,
}

async fn rows_read(owner: &Client, query: &str) -> RowsRead {
    let explain = format!("explain (analyze, format json) {query}");
    let plan: Value = owner.query_one(&explain, &[]).await.expect(query).get(0);
    let plan = &plan[0]["Plan"];
    let mut read = RowsRead { returned: figure(plan, "Actual Rows"), ..RowsRead::default() };
    add(plan, &mut read);
    read
}

fn figure(node: &Value, name: &str) -> f64 {
    node[name].as_f64().unwrap_or(0.0)
}

fn add(node: &Value, read: &mut RowsRead) {
    if let Some(relation) = node["Relation Name"].as_str() {
        let removed =
            ["Rows Removed by Filter", "Rows Removed by Index Recheck"].map(|name| figure(node, name));
        let rows = (figure(node, "Actual Rows") + removed.iter().sum::<f64>()) * figure(node, "Actual Loops");
        match relation {
            "batches" => read.batches += rows,
            _ => {
                read.events += rows;
                read.partitions += usize::from(figure(node, "Actual Loops") > 0.0);
            }
        }
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        add(child, read);
    }
}

#[tokio::test]
async fn a_query_reads_what_its_rows_cost() {
    let (_database, owner) = thirty_days().await;
    // Unprocessed events: their batches and their events.
    for condition in ["processed = false", "not processed"] {
        let read = rows_read(&owner, &format!("select * from raw_events where {condition}")).await;
        assert_eq!(read.returned, 20.0, "{condition}: {read:?}");
        assert!(read.events <= 20.0 && read.batches <= 2.0 + 20.0 * 9.0, "{condition}: {read:?}");
    }
    // The newest events, and one event.
    let read = rows_read(&owner, "select * from raw_events order by received_at desc limit 5").await;
    assert!(read.returned == 5.0 && read.events <= 40.0 && read.batches <= 40.0, "{read:?}");
    let id = "(select id from staging.events order by received_at limit 1)";
    let id: i64 = owner.query_one(id, &[]).await.expect("an id").get(0);
    let read = rows_read(&owner, &format!("select * from raw_events where id = {id}")).await;
    // The planner reads small partitions, here those of the first and the last day, as a whole.
    assert!(read.returned == 1.0 && read.events <= 9_000.0 && read.batches <= 20.0, "{read:?}");
    // A day: its events, and none of its batches.
    let day = "received_at >= current_date - 3 and received_at < current_date - 2";
    let read = rows_read(&owner, &format!("select * from raw_events where {day}")).await;
    assert!(read.returned > 2_900.0 && read.events <= 3_010.0 && read.batches <= 20.0, "{read:?}");
    // All events are counted without the ledger. The events of superseded batches do not count.
    let read = rows_read(&owner, "select count(*) from raw_events").await;
    assert!(read.batches <= 100.0, "{read:?}");
    let count: i64 = owner.query_one("select count(*) from raw_events", &[]).await.expect("count").get(0);
    assert_eq!(count, 90_000 - 90);
}

#[tokio::test]
async fn processed_follows_the_batch_and_superseded_events_are_hidden() {
    let (_database, owner) = thirty_days().await;
    for (query, expected) in [
        ("select count(*) from raw_events where processed", 90_000 - 90 - 20),
        ("select count(*) from raw_events where processed is false", 20),
        ("select count(*) from raw_events where not processed", 20),
    ] {
        let count: i64 = owner.query_one(query, &[]).await.expect(query).get(0);
        assert_eq!(count, expected, "{query}");
    }
    // An unprocessed batch that is superseded is hidden too.
    owner
        .batch_execute("update staging.batches set superseded_at = now() where processed_at is null")
        .await
        .expect("supersede");
    let count: i64 = owner
        .query_one("select count(*) from raw_events where not processed", &[])
        .await
        .expect("count")
        .get(0);
    assert_eq!(count, 0);
}

#[tokio::test]
async fn reading_unprocessed_events_reads_only_their_batches() {
    let database = Database::new().await;
    let owner = database.owner().await;
    // Ten sources alternate over five days. One source has two unprocessed batches.
    owner
        .batch_execute(
            "select staging.ensure_partition((now() at time zone 'UTC')::date - d) from generate_series(0, 5) as d;
             create temp table made as
                 select gen_random_uuid() as batch_id, n, 's' || n % 10 as source, n in (11, 21) as is_new,
                        date_trunc('day', now()) - interval '3 minutes' * n as received_at
                 from generate_series(1, 2000) as n;
             insert into staging.batches (batch_id, origin, source, event_type, received_at,
                                          read_count, staged_count, transformed_count, processed_at)
                 select batch_id, 'o' || n, source, 'e', received_at, 20, 20,
                        case when is_new then 0 else 20 end, case when is_new then null else now() end
                 from made;
             insert into staging.events (received_at, batch_id, source, event_type, payload)
                 select received_at, batch_id, source, 'e', jsonb_build_object('n', i)
                 from made, generate_series(1, 20) as i;
             analyze staging.events; analyze staging.batches;",
        )
        .await
        .expect("five days of events");
    for condition in ["processed = false", "not processed", "processed = false and source = 's1'"] {
        let read = rows_read(&owner, &format!("select * from raw_events where {condition}")).await;
        assert_eq!((read.batches, read.events), (2.0, 40.0), "{condition}: {read:?}");
        let count = format!("select count(*) from raw_events where {condition}");
        assert_eq!(number(&owner, &count).await, 40);
    }
}

#[tokio::test]
async fn reading_unprocessed_events_scans_no_processed_day() {
    let database = Database::new().await;
    let owner = database.owner().await;
    // Five days of 40 batches of 200 events; only two batches of the last day are unprocessed.
    owner
        .batch_execute(
            "select staging.ensure_partition((now() at time zone 'UTC')::date - d) from generate_series(0, 5) as d;
             create temp table made as
                 select gen_random_uuid() as batch_id, n,
                        date_trunc('day', now()) + interval '1 second' - interval '36 minutes' * n as received_at
                 from generate_series(0, 199) as n;
             insert into staging.batches (batch_id, origin, source, event_type, received_at,
                                          read_count, staged_count, transformed_count, processed_at)
                 select batch_id, 'o' || n, 's', 'e', received_at, 200, 200,
                        case when n in (1, 2) then 0 else 200 end, case when n in (1, 2) then null else now() end
                 from made;
             insert into staging.events (received_at, batch_id, source, event_type, payload)
                 select received_at, batch_id, 's', 'e', jsonb_build_object('n', i)
                 from made, generate_series(1, 200) as i;
             analyze staging.events; analyze staging.batches;",
        )
        .await
        .expect("five days of events");
    let read = rows_read(&owner, "select * from raw_events where processed = false").await;
    assert_eq!(read.partitions, 1, "one day is unprocessed: {read:?}");
    assert_eq!(number(&owner, "select count(*) from raw_events where processed = false").await, 400);
}
