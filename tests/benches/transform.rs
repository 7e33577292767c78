//! Transforms raw events into facts while they arrive, and compares it with a table that has a `processed` flag on
//! every row.
//!
//! Both use the same server, payloads, batches and facts, and COPY. A second part measures the transform alone, with
//! and without a transaction that is held open. That transaction prevents vacuum from removing dead rows, which slows
//! the flagged table down.

use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::SinkExt;
use millrace::batch::{Batch, BatchBounds, BatchBuilder};
use millrace::clock::ReceivedAt;
use millrace::database::{Connection, Settings};
use millrace::ledger::{LedgerEntry, stage};
use millrace_tests::postgres::{ROLE_PASSWORD, client, number};
use millrace_tests::runtime_api::{Function, binary};
use serde_json::json;
use tempfile::TempDir;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::stack::Stack;
use crate::table::{median, print, thousands};

const OFFERED: i64 = 50_000;
const PERIOD: Duration = Duration::from_secs(20);
const BATCH: i64 = 10_000;
/// The limit for a contender to catch up.
const GIVE_UP: Duration = Duration::from_secs(60);

const MODEL: &str = "-- kind = \"fact\"
-- source = \"bench/orders\"
-- key = [\"order_id\"]
select
    (payload->>'order_id')::bigint as order_id,
    (payload->>'total')::numeric(12, 2) as total,
    (payload->>'ordered_at')::timestamptz as ordered_at,
    payload->>'status' as status
from batch";

const FLAGGED: &str = "
    drop table if exists public.flagged, public.flagged_facts;
    create table public.flagged (
        id bigint generated always as identity primary key,
        received_at timestamptz not null default clock_timestamp(),
        payload jsonb not null,
        processed boolean not null default false
    );
    create index on public.flagged (id) where not processed;
    create table public.flagged_facts (
        order_id bigint primary key, total numeric(12, 2), ordered_at timestamptz, status text
    )";

const CONSUME: &str = "
    with claimed as (
        select id, payload from public.flagged where not processed order by id limit 20000 for update skip locked
    ),
    done as (
        update public.flagged set processed = true from claimed where flagged.id = claimed.id
    )
    insert into public.flagged_facts
    select distinct on (1)
        (payload->>'order_id')::bigint, (payload->>'total')::numeric(12, 2), (payload->>'ordered_at')::timestamptz,
        payload->>'status'
    from claimed
    order by 1, id desc
    on conflict (order_id) do update
        set total = excluded.total, ordered_at = excluded.ordered_at, status = excluded.status";

/// The result of offering events for a while.
#[derive(Debug, Clone, Copy)]
struct Offered {
    /// Seconds from the first event to the last fact.
    took: f64,
    facts: i64,
    /// Seconds from a batch's arrival to its facts. The flagged table does not record this.
    lag: Option<[f64; 2]>,
    dead: i64,
}

pub async fn run(rounds: usize) {
    offered(rounds).await;
    held_open(rounds).await;
}

async fn offered(rounds: usize) {
    let stack = Stack::start().await;
    let mut ours = Vec::new();
    let mut flagged = Vec::new();
    for round in 1..=rounds {
        let sample = flag(&stack).await;
        eprintln!("round {round}/{rounds}  processed flag  {sample:?}");
        flagged.push(sample);
        let sample = transform(&stack).await;
        eprintln!("round {round}/{rounds}  millrace        {sample:?}");
        ours.push(sample);
    }
    let total = OFFERED * PERIOD.as_secs() as i64;
    let row = |name: &str, samples: &[Offered]| {
        let of = |pick: &dyn Fn(&Offered) -> f64| median(&samples.iter().map(pick).collect::<Vec<_>>());
        let lag = |at: usize| match samples[0].lag {
            Some(_) => format!("{:.2}", of(&|sample| sample.lag.map_or(f64::NAN, |lag| lag[at]))),
            None => "-".to_owned(),
        };
        vec![
            name.to_owned(),
            thousands(of(&|sample| sample.facts as f64)),
            format!("{:.1}", of(&|sample| sample.took)),
            lag(0),
            lag(1),
            thousands(of(&|sample| sample.dead as f64)),
        ]
    };
    print(
        &format!(
            "{} events/s offered for {} s ({} events), facts at once, median of {rounds}\n{}",
            thousands(OFFERED as f64),
            PERIOD.as_secs(),
            thousands(total as f64),
            stack.describe().await
        ),
        &["", "facts", "seconds to the last", "lag p50 s", "lag max s", "dead raw rows"],
        &[row("a processed flag on every row", &flagged), row("millrace transform", &ours)],
    );
}

/// Ten keys, about 205 bytes.
fn payload(number: i64) -> String {
    json!({
        "order_id": number.to_string(),
        "total": format!("{}.50", number % 1_000),
        "ordered_at": "2026-01-31T12:00:00Z",
        "status": "paid",
        "customer": format!("c{}", number % 10_000),
        "currency": "EUR",
        "country": "DE",
        "channel": "web",
        "items": "3",
        "note": "left at the gate",
    })
    .to_string()
}

fn numbers(batch: i64) -> std::ops::Range<i64> {
    batch * BATCH..(batch + 1) * BATCH
}

fn batch(index: i64, size: std::ops::Range<i64>) -> (Batch, LedgerEntry<'static>) {
    let mut builder = BatchBuilder::new("bench", "orders", ReceivedAt::now(), BatchBounds::default());
    for number in size {
        builder.push(payload(number).as_bytes());
    }
    let origin = format!("bench:{index}:{}", Uuid::now_v7());
    (builder.finish(), LedgerEntry { origin, rejected_count: 0, repairs: &[], load_id: None, span: None })
}

/// Calls `send` with each batch's number when it is due.
async fn offer(mut send: impl AsyncFnMut(i64)) {
    let started = Instant::now();
    let batches = OFFERED * PERIOD.as_secs() as i64 / BATCH;
    for number in 0..batches {
        let due = started + Duration::from_secs_f64((number * BATCH) as f64 / OFFERED as f64);
        tokio::time::sleep_until(due.into()).await;
        send(number).await;
    }
}

async fn transform_function(stack: &Stack, idle_poll: &str) -> (Function, TempDir) {
    let pipeline = TempDir::new().expect("a folder");
    std::fs::create_dir(pipeline.path().join("models")).expect("a folder");
    std::fs::write(pipeline.path().join("models/bench_orders.sql"), MODEL).expect("a model");
    let mut environment =
        stack.aws.variables(&stack.server.url_for("millrace_transform", ROLE_PASSWORD, "postgres"));
    for (name, value) in [
        ("MILLRACE_PIPELINE", pipeline.path().to_str().expect("a path")),
        ("MILLRACE_IDLE_POLL", idle_poll),
        ("MILLRACE_LOG", "warn"),
    ] {
        environment.push((name.to_owned(), value.to_owned()));
    }
    (Function::spawn(&binary("transform"), &environment).await, pipeline)
}

async fn transform(stack: &Stack) -> Offered {
    stack.empty().await;
    let (function, _pipeline) = transform_function(stack, "3s").await;
    let url = stack.server.url_for("millrace_ingest", ROLE_PASSWORD, "postgres");
    let mut connection = Connection::new(Settings::parse(&url).expect("a connection string"));
    let started = Instant::now();
    let event = json!({});
    let working = async {
        // Runs once more, in case the last run found nothing for a moment.
        while number(&stack.owner, "select count(*) from staging.batches").await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        function.invoke(&event, PERIOD + GIVE_UP).await.response();
    };
    let loading = offer(async |index| {
        let (batch, entry) = batch(index, numbers(index));
        let deadline = Instant::now() + Duration::from_secs(30);
        stage(&mut connection, &batch, &entry, deadline, async |_| Ok(())).await.expect("stage");
    });
    tokio::join!(working, loading);
    let _ = function.invoke(&event, GIVE_UP).await;
    let last = "select extract(epoch from max(processed_at) - min(received_at))::float8,
            percentile_cont(0.5) within group (order by extract(epoch from processed_at - received_at)::float8),
            max(extract(epoch from processed_at - received_at))::float8
         from staging.batches";
    let row = stack.owner.query_one(last, &[]).await.expect("lags");
    let unprocessed = "select count(*) from staging.batches where processed_at is null";
    assert_eq!(number(&stack.owner, unprocessed).await, 0);
    assert!(started.elapsed() < PERIOD + GIVE_UP * 2);
    Offered {
        took: row.get(0),
        facts: number(&stack.owner, "select count(*) from facts.bench_orders").await,
        lag: Some([row.get(1), row.get(2)]),
        dead: dead(&stack.owner, "events\\_%").await,
    }
}

async fn flag(stack: &Stack) -> Offered {
    stack.owner.batch_execute(FLAGGED).await.expect("tables");
    stack.owner.batch_execute("checkpoint").await.expect("a checkpoint");
    let url = stack.server.url("postgres");
    let (loader, consumer) = (client(&url).await, client(&url).await);
    let total = OFFERED * PERIOD.as_secs() as i64;
    let started = Instant::now();
    let consuming = async {
        let mut facts = 0;
        while facts < total && started.elapsed() < PERIOD + GIVE_UP {
            let rows = consumer.execute(CONSUME, &[]).await.expect("consume") as i64;
            facts += rows;
            if rows == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    let loading = offer(async |index| {
        let text: String = numbers(index).map(|number| payload(number) + "\n").collect();
        let mut sink =
            pin!(loader.copy_in::<_, Bytes>("copy public.flagged (payload) from stdin").await.expect("copy"));
        sink.send(Bytes::from(text)).await.expect("send rows");
        sink.finish().await.expect("end the copy");
    });
    tokio::join!(consuming, loading);
    Offered {
        took: started.elapsed().as_secs_f64(),
        facts: number(&stack.owner, "select count(*) from public.flagged_facts").await,
        lag: None,
        dead: dead(&stack.owner, "flagged").await,
    }
}

/// The number of rows of raw events that were updated or deleted.
async fn dead(owner: &Client, tables: &str) -> i64 {
    // PostgreSQL reports these counters when a session is idle.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let sql = format!(
        "select coalesce(sum(n_tup_upd + n_tup_del), 0)::bigint from pg_stat_user_tables where relname like '{tables}'"
    );
    number(owner, &sql).await
}

impl Stack {
    async fn empty(&self) {
        self.reset().await;
        let facts = "drop table if exists facts.bench_orders; truncate pipeline.models, pipeline.runs";
        self.owner.batch_execute(facts).await.expect("no facts");
    }
}

/// Inserts many small batches for the transform alone. Their ledger rows are updated.
const SMALL_BATCHES: i64 = 1_000;
const SMALL: i64 = 500;

async fn held_open(rounds: usize) {
    let stack = Stack::start().await;
    let mut rates: [Vec<f64>; 2] = Default::default();
    let event = json!({});
    for round in 1..=rounds {
        for (index, held) in [false, true].into_iter().enumerate() {
            stack.empty().await;
            let other = client(&stack.server.url("postgres")).await;
            if held {
                let snapshot = "begin isolation level repeatable read; select count(*) from staging.batches";
                other.batch_execute(snapshot).await.expect("a transaction");
            }
            let (function, _pipeline) = transform_function(&stack, "0s").await;
            // The first claim creates the table.
            function.invoke(&event, GIVE_UP).await.response();
            let url = stack.server.url_for("millrace_ingest", ROLE_PASSWORD, "postgres");
            let mut connection = Connection::new(Settings::parse(&url).expect("a connection string"));
            for number in 0..SMALL_BATCHES {
                let (batch, entry) = batch(number, number * SMALL..(number + 1) * SMALL);
                let deadline = Instant::now() + Duration::from_secs(30);
                stage(&mut connection, &batch, &entry, deadline, async |_| Ok(())).await.expect("stage");
            }
            let started = Instant::now();
            function.invoke(&event, PERIOD + GIVE_UP).await.response();
            let rate = (SMALL_BATCHES * SMALL) as f64 / started.elapsed().as_secs_f64();
            eprintln!("round {round}/{rounds}  transaction held open: {held}  {rate:.0} events/s");
            rates[index].push(rate);
        }
    }
    let (without, with) = (median(&rates[0]), median(&rates[1]));
    print(
        &format!(
            "Transform of {} events in {SMALL_BATCHES} batches, median of {rounds}\n{}",
            thousands((SMALL_BATCHES * SMALL) as f64),
            stack.describe().await
        ),
        &["", "events/s", "against none held"],
        &[
            vec!["no other transaction".to_owned(), thousands(without), "1.00 x".to_owned()],
            vec!["a transaction held open".to_owned(), thousands(with), format!("{:.2} x", with / without)],
        ],
    );
}
