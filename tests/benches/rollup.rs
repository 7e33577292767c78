//! Refreshes a rollup after one percent of new facts, and compares it with computing all of it, as a materialized view
//! does.

use std::time::{Duration, Instant};

use millrace::database::{Connection, Settings};
use millrace_models::deploy;
use millrace_models::project::Project;
use millrace_models::refresh::{self, RefreshLimits};
use millrace_tests::postgres::{ROLE_PASSWORD, number};
use uuid::Uuid;

use crate::stack::Stack;
use crate::table::{median, print, thousands};

const FACTS: i64 = 4_000_000;
const FACT: &str = "-- kind = \"fact\"
-- source = \"bench/sales\"
-- key = [\"sale_id\"]
select
    (payload->>'id')::bigint as sale_id,
    (payload->>'at')::timestamptz as sold_at,
    (payload->>'shop')::integer as shop,
    (payload->>'total')::numeric(12, 2) as total
from batch";
const ROLLUP: &str = "-- kind = \"rollup\"
-- key = [\"day\", \"shop\"]
-- bucket = \"day\"
select date_trunc('day', sold_at) as day, shop, count(*) as sales, sum(total) as total
from sales
group by 1, 2";

pub async fn run(rounds: usize) {
    let stack = Stack::start().await;
    let files = [("models/sales.sql", FACT), ("models/sales_daily.sql", ROLLUP)];
    let project = Project::parse(&files.map(|(name, text)| (name.to_owned(), text.to_owned())));
    assert!(project.problems().is_empty(), "{:?}", project.problems());
    let url = stack.server.url_for("millrace_transform", ROLE_PASSWORD, "postgres");
    let mut connection = Connection::new(Settings::parse(&url).expect("a connection string"));
    let deadline = Instant::now() + Duration::from_secs(3_600);
    let deployment = deploy::deploy(&mut connection, &project, deadline).await.expect("deploy");
    assert!(deployment.stopped.is_empty(), "{:?}", deployment.stopped);
    // Two years of data for a hundred shops.
    stack.add(0, FACTS, "n % 730").await;
    stack.owner.batch_execute("vacuum analyze facts.sales").await.expect("vacuum");
    let mut samples: [Vec<f64>; 2] = Default::default();
    let new = FACTS / 100;
    for round in 0..=rounds {
        stack
            .owner
            .batch_execute("insert into pipeline.invalidations (model) values ('sales_daily')")
            .await
            .expect("touch");
        let full = refreshed(&mut connection, &project).await;
        // New events have recent dates.
        let first = FACTS + new * round as i64;
        stack.add(first, new, &format!("{} + n % 7", 730 + 7 * round)).await;
        let invalidated = refreshed(&mut connection, &project).await;
        let wrong = "select count(*) from (
                select day, shop, sales, total from facts.sales_daily
                except
                select date_trunc('day', sold_at), shop, count(*), sum(total) from facts.sales group by 1, 2
            ) as difference";
        assert_eq!(number(&stack.owner, wrong).await, 0);
        eprintln!("round {round}/{rounds}  everything {full:?}  invalidated buckets {invalidated:?}");
        // The first round warms caches and is not counted.
        if round > 0 {
            samples[0].push(full.as_secs_f64());
            samples[1].push(invalidated.as_secs_f64());
        }
    }
    let (full, invalidated) = (median(&samples[0]), median(&samples[1]));
    let row = |name: &str, seconds: f64| {
        vec![name.to_owned(), format!("{:.0}", seconds * 1_000.0), format!("{:.1} %", seconds / full * 100.0)]
    };
    print(
        &format!(
            "A rollup of {} facts by day and shop, {} of the week after, median of {rounds}\n{}",
            thousands(FACTS as f64),
            thousands(new as f64),
            stack.describe().await
        ),
        &["", "ms", "of everything"],
        &[row("everything computed again", full), row("the invalidated buckets", invalidated)],
    );
}

async fn refreshed(connection: &mut Connection, project: &Project) -> Duration {
    let deadline = Instant::now() + Duration::from_secs(600);
    let limits = RefreshLimits { lock_timeout: Duration::from_secs(5), last_start: deadline, deadline };
    let started = Instant::now();
    let summary = refresh::run(connection, project, Uuid::now_v7(), limits).await.expect("refresh");
    let took = started.elapsed();
    assert!(summary.refreshed.contains_key("sales_daily"), "{summary:?}");
    took
}

impl Stack {
    /// Inserts `count` facts from a number on; `day` is an expression over `n`.
    async fn add(&self, first: i64, count: i64, day: &str) {
        let statement = format!(
            "set timezone = 'UTC';
             insert into facts.sales (sale_id, sold_at, shop, total, _received_at, _event_id)
             select n, '2024-01-01Z'::timestamptz + make_interval(days => ({day})::integer, secs => n % 86400),
                 n % 100, n % 1000, now(), n
             from generate_series({first}, {first} + {count} - 1) as n"
        );
        self.owner.batch_execute(&statement).await.expect("add facts");
    }
}
