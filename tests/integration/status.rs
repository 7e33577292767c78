//! Compares every number of `millrace status` with the input and with the tables.

use std::collections::BTreeMap;

use millrace_tests::postgres::Database;
use millrace_tests::terminal::{assert_fits, row, unwrapped};
use serde_json::{Value, json};

use crate::doctor::fixture::{DoctorFixture, sample_file};

/// Orders whose total must be a number.
const ORDERS: &str = "-- kind = \"fact\"\n-- source = \"bearer/event\"\n-- key = [\"n\"]
select (payload->>'n')::int as n, (payload->>'total')::numeric as total from batch";

const TOTALS: &str = "-- kind = \"materialized_view\"\n-- key = [\"one\"]
select 1 as one, sum(total) as total from orders";

/// A CSV file of `good` records followed by `bad` ones, each with a field missing.
fn csv(good: usize, bad: usize) -> Vec<u8> {
    let good: String = (0..good).map(|n| format!("{n},x\n")).collect();
    let bad: String = (0..bad).map(|n| format!("{n}\n")).collect();
    format!("id,name\n{good}{bad}").into_bytes()
}

/// A stack with data in every state.
async fn everything() -> DoctorFixture {
    let fixture = DoctorFixture::new().await;
    for (name, text) in [("orders", ORDERS), ("totals", TOTALS)] {
        std::fs::write(fixture.pipeline.path().join(format!("models/{name}.sql")), text).unwrap();
    }
    let sources = fixture.pipeline.path().join("sources.toml");
    let more = "\n[shop.csv]\ndelimiter = \",\"\nheader = \"first\"\non_new_version = \"replace\"\n";
    std::fs::write(&sources, std::fs::read_to_string(&sources).unwrap() + more).unwrap();

    // Files: with rejects and a repair; superseded by a newer version; stopped for too many bad records; in progress.
    let loader = fixture.function("ingest-csv").await;
    fixture.load(&loader, "incoming/demo/weather/w.csv", sample_file("weather-with-errors.csv")).await;
    fixture.load(&loader, "incoming/demo/airports/a.csv", sample_file("airports.csv")).await;
    fixture.load(&loader, "incoming/shop/stock/s.csv", csv(10, 0)).await;
    fixture.load(&loader, "incoming/shop/stock/s.csv", csv(7, 2)).await;
    fixture.load(&loader, "incoming/shop/returns/r.csv", csv(200, 400)).await;
    fixture
        .run(
            "insert into staging.loads (load_id, origin, object, source, event_type, on_new_version, plan)
         values (gen_random_uuid(), 's3://b/k?version=1', 's3://b/k', 'shop', 'returns', 'append', '{}')",
        )
        .await;

    // Webhooks, the last one repeated: nine events, two of which the model refuses.
    let client = fixture.client().await;
    for n in 0..9 {
        let total = if n % 4 == 3 { "free" } else { "2.5" };
        let body = json!({ "n": n, "total": total }).to_string();
        fixture.post(&client, "bearer", "", &n.to_string(), body.as_bytes()).await.was(202, "stored");
        if n == 8 {
            fixture.post(&client, "bearer", "", "8", body.as_bytes()).await.was(202, "duplicate");
        }
    }
    fixture.transform().await;
    fixture.refresh().await;
    // An unprocessed insert that has invalidated a view.
    fixture.run(
        "insert into raw_events (source, event_type, payload) select 'late', 'e', '{}' from generate_series(1, 4);
         insert into raw_events (source, event_type, payload) values ('late', 'e', '{}');
         delete from facts.orders where n = 0",
    )
    .await;
    fixture
}

/// The counts of arrivals and outcomes: (files, in progress, failed, read, staged, rejected, repaired, unprocessed,
/// transformed, quarantined, unmodelled).
fn by_hand() -> BTreeMap<&'static str, [i64; 11]> {
    BTreeMap::from([
        ("demo/weather", [1, 0, 0, 1_200, 1_196, 4, 1, 0, 1_196, 0, 0]),
        ("demo/airports", [1, 0, 0, 1_458, 1_458, 0, 0, 0, 1_458, 0, 0]),
        // Both versions were read. No model takes them.
        ("shop/stock", [2, 0, 0, 10 + 7 + 2, 17, 2, 0, 0, 0, 0, 17]),
        // A file whose first chunk is bad stages nothing.
        ("shop/returns", [2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("bearer/event", [0, 0, 0, 9, 9, 0, 0, 0, 7, 2, 0]),
        ("late/e", [0, 0, 0, 5, 5, 0, 0, 5, 0, 0, 0]),
    ])
}

const COUNTS: [&str; 11] = [
    "files",
    "files_under_way",
    "files_failed",
    "read",
    "staged",
    "rejected",
    "repaired",
    "unprocessed",
    "transformed",
    "quarantined",
    "unmodelled",
];

fn integer(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[tokio::test]
async fn every_number_equals_a_count_by_hand() {
    let fixture = everything().await;
    let said = fixture.millrace(&["status", "--json"]).await;
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    let report: Value = serde_json::from_str(&said.out).unwrap();
    let text = fixture.millrace(&["status"]).await;
    assert_eq!(text.code, Some(0), "{}{}", text.out, text.err);
    assert_fits(&text.out, 80);
    let wide = fixture.millrace(&["status", "--wide"]).await;
    assert_eq!(wide.code, Some(0), "{}{}", wide.out, wide.err);
    let number = |cell: &String| cell.replace(',', "").parse::<i64>().expect("a number");

    let event_types = report["event_types"].as_array().unwrap();
    assert_eq!(event_types.len(), by_hand().len(), "{}", said.out);
    let mut batch_total = 0;
    for counts in event_types {
        let (source, event_type) =
            (counts["source"].as_str().unwrap(), counts["event_type"].as_str().unwrap());
        let name = format!("{source}/{event_type}");
        let expected = by_hand()[name.as_str()];
        let found = COUNTS.map(|count| integer(&counts[count]));
        assert_eq!(found, expected, "{name}");

        // The same numbers from the tables, each by a separate query.
        let where_it_is = format!("source = '{source}' and event_type = '{event_type}'");
        let count = async |query: &str| fixture.number(&format!("{query} where {where_it_is}")).await;
        let batches = count("select count(*) from staging.batches").await;
        batch_total += batches;
        assert_eq!(integer(&counts["batches"]), batches, "{name}");
        assert_eq!(integer(&counts["staged"]), count("select count(*) from staging.events").await, "{name}");
        let repairs = "select count(*) from staging.repairs join staging.batches using (batch_id)";
        assert_eq!(integer(&counts["repaired"]), count(repairs).await, "{name}");
        let processed = "select coalesce(sum(staged_count) filter (where processed_at is not null), 0)::bigint from staging.batches";
        assert_eq!(integer(&counts["processed"]), count(processed).await, "{name}");
        let rate = counts["rows_per_second_hour"].as_f64().unwrap() * 3_600.0;
        assert_eq!(rate.round() as i64, integer(&counts["staged"]), "all of it came within the hour: {name}");
        let minute = counts["rows_per_second_minute"].as_f64().unwrap() * 60.0;
        assert!((0.0..=rate + 0.5).contains(&minute), "{name}");

        // The lines of the text output: every count, and those that matter most.
        let every = row(&wide.out, "source/event_type", &name);
        for (count, expected) in COUNTS.iter().zip(expected).chain([(&"batches", batches)]) {
            let column = match *count {
                "files_under_way" => continue,
                "files_failed" => "failed",
                "unprocessed" => "waiting",
                other => other,
            };
            assert_eq!(number(&every[column]), expected, "{name}: {column}");
        }
        let most = row(&text.out, "source/event_type", &name);
        for column in ["staged", "rejected", "failed", "waiting", "quarantined"] {
            assert_eq!(most[column], every[column], "{name}: {column}");
        }
        // The age grows between the two commands.
        assert_eq!(most["oldest"] == "-", number(&most["waiting"]) == 0, "{name}");
    }
    assert_eq!(batch_total, fixture.number("select count(*) from staging.batches").await);

    // Lag.
    let lag = report["lag"].as_array().unwrap();
    assert_eq!(lag.len(), event_types.len() - 1, "what has no batch has no lag");
    let of = |name: &str| {
        let found = lag.iter().find(|lag| {
            format!("{}/{}", lag["source"].as_str().unwrap(), lag["event_type"].as_str().unwrap()) == name
        });
        found.unwrap_or_else(|| panic!("no lag of {name}"))
    };
    let late = of("late/e");
    assert_eq!((integer(&late["unprocessed_batches"]), integer(&late["unprocessed_rows"])), (2, 5));
    let oldest =
        "select batch_id::text from staging.batches where source = 'late' order by received_at limit 1";
    let oldest: String = fixture.owner.query_one(oldest, &[]).await.unwrap().get(0);
    assert_eq!(late["oldest_batch_id"], oldest);
    assert!(late["transform_seconds_p50"].is_null() && late["newest_processed_seconds"].is_null(), "{late}");
    let waited = |at: &Value| at.as_f64().unwrap_or_else(|| panic!("{at}"));
    assert!(waited(&late["oldest_seconds"]) >= waited(&late["newest_received_seconds"]), "{late}");
    assert_eq!(waited(&late["oldest_seconds"]), {
        let counts = event_types.iter().find(|counts| counts["source"] == "late").unwrap();
        waited(&counts["oldest_unprocessed_seconds"])
    });
    let bearer = of("bearer/event");
    assert_eq!((integer(&bearer["unprocessed_batches"]), integer(&bearer["unprocessed_rows"])), (0, 0));
    assert!(bearer["oldest_batch_id"].is_null() && bearer["oldest_seconds"].is_null(), "{bearer}");
    for (column, share) in [("transform_seconds_p50", 0.5), ("transform_seconds_p95", 0.95)] {
        assert_percentile(&fixture, &bearer[column], share).await;
    }

    // Models: the rows of their last runs, and the invalidated view.
    let models = report["models"].as_array().unwrap();
    assert_eq!(models.len() as i64, fixture.number("select count(*) from pipeline.models").await);
    let model = |name: &str| models.iter().find(|model| model["model"] == name).expect(name);
    let orders = model("orders");
    assert_eq!(
        ["kind", "activity", "outcome"].map(|name| orders[name].as_str().unwrap()),
        ["fact", "transform", "warned"]
    );
    assert_eq!(["events", "rows", "quarantined"].map(|name| integer(&orders[name])), [9, 7, 2]);
    assert_eq!(integer(&model("weather")["rows"]), 1_196);
    assert_eq!(
        integer(&model("airports")["rows"]),
        fixture.number("select count(*) from facts.airports").await
    );
    let totals = model("totals");
    assert_eq!((&totals["activity"], &totals["outcome"]), (&json!("refresh"), &json!("ok")));
    assert!(totals["stale_seconds"].as_f64().is_some_and(|seconds| seconds >= 0.0), "{totals}");
    assert_eq!(models.iter().filter(|model| !model["stale_seconds"].is_null()).count(), 1, "{models:#?}");
    assert!(model("airport_weather")["last_ok_seconds"].as_f64().is_some(), "{models:#?}");
    let orders = row(&text.out, "model", "orders");
    assert_eq!(["outcome", "rows", "stale"].map(|name| orders[name].as_str()), ["warned", "7", "-"]);
    assert_ne!(row(&text.out, "model", "totals")["stale"], "-");

    // The queues: single bad records, the stopped file, and the events that the model refused.
    let dead_letters = 4 + 2 + 1 + 2;
    assert_eq!(fixture.aws.dead_letters().await.len() as i64, dead_letters);
    assert_eq!(integer(&report["queues"]["dead_letters"]), dead_letters);
    assert_eq!(integer(&report["queues"]["uploads"]), 0);
    assert!(text.out.contains(&format!("0 uploads waiting, {dead_letters} dead letters")), "{}", text.out);

    // The sums.
    let sum = |count: &str| event_types.iter().map(|counts| integer(&counts[count])).sum::<i64>();
    assert_eq!(sum("staged"), fixture.number("select count(*) from staging.events").await);
    assert_eq!(sum("read"), sum("staged") + sum("rejected"));
    assert_eq!(sum("processed"), sum("transformed") + sum("quarantined") + sum("unmodelled"));
    assert_eq!(sum("staged"), sum("processed") + sum("unprocessed"));
    let plain = text.out.replace(',', "");
    let reconciled = format!(
        "{} read = {} staged = rows in staging.events + {} rejected",
        sum("read"),
        sum("staged"),
        sum("rejected")
    );
    assert!(plain.contains(&reconciled), "{plain}");
    let processed = format!(
        "{} processed = {} transformed + {} quarantined + {} unmodelled",
        sum("processed"),
        sum("transformed"),
        sum("quarantined"),
        sum("unmodelled")
    );
    assert!(plain.contains(&processed), "{plain}");
}

/// The percentile of the bearer's batches lies between its neighbours, with the expected number of batches below it.
async fn assert_percentile(fixture: &DoctorFixture, found: &Value, share: f64) {
    let rows = fixture
        .owner
        .query(
            "select extract(epoch from processed_at - received_at)::double precision
             from staging.batches where source = 'bearer' order by 1",
            &[],
        )
        .await
        .unwrap();
    let waits: Vec<f64> = rows.iter().map(|row| row.get(0)).collect();
    let place = share * (waits.len() - 1) as f64;
    let (low, high) = (waits[place.floor() as usize], waits[place.ceil() as usize]);
    let expected = low + (high - low) * place.fract();
    let found = found.as_f64().expect("a percentile");
    assert!((found - expected).abs() < 0.001, "{found} is not {expected} of {waits:?}");
}

#[tokio::test]
async fn any_count_mismatch_is_in_the_view_and_in_status() {
    let fixture = DoctorFixture::new().await;
    let loader = fixture.function("ingest-csv").await;
    fixture.load(&loader, "incoming/shop/stock/s.csv", csv(10, 0)).await;
    fixture.run("insert into raw_events (source, event_type, payload) values ('shop', 'orders', '{}')").await;
    fixture.transform().await;
    fixture.run(
        "alter table staging.batches drop constraint batches_processed_reconciles, drop constraint batches_read_reconciles",
    )
    .await;
    let differences = async || {
        let query =
            "select array[sum(read_difference), sum(processed_difference), sum(record_difference)]::bigint[]
                     from pipeline.batch_counts";
        fixture.owner.query_one(query, &[]).await.unwrap().get::<_, Vec<i64>>(0)
    };
    assert_eq!(differences().await, [0, 0, 0]);
    assert_eq!(fixture.millrace(&["status"]).await.code, Some(0));
    let stock = "where event_type = 'stock'";
    for (skew, back, expected, words) in [
        (
            "rejected_count = 3",
            "rejected_count = 0",
            [3, 0, 0],
            "read = staged + rejected: shop/stock: 0 against 3",
        ),
        ("unmodelled_count = 8", "unmodelled_count = 10", [0, 2, 0], "10 against 8"),
        ("read_count = 9", "read_count = 10", [1, 0, 1], "10 against 9"),
    ] {
        fixture.run(&format!("update staging.batches set {skew} {stock}")).await;
        assert_eq!(differences().await, expected, "{skew}");
        let said = fixture.millrace(&["status"]).await;
        assert_eq!(said.code, Some(1), "{skew}");
        assert!(unwrapped(&said.out).contains(words), "{skew}: {}", said.out);
        // The origin of a batch stays whole.
        let (tables, _) = said.out.split_once("The counts do not reconcile").expect("discrepancies");
        assert_fits(tables, 80);
        fixture.run(&format!("update staging.batches set {back} {stock}")).await;
    }
    // A redriven record belongs to the file's load and is not part of the file.
    fixture.run(
        "insert into staging.batches (batch_id, load_id, origin, source, event_type, received_at, read_count, staged_count)
         select gen_random_uuid(), load_id, 'redriven', 'shop', 'stock', now(), 1, 1 from staging.loads",
    )
    .await;
    assert_eq!(differences().await, [0, 0, 0]);
    // A second attempt at a version is not a second file.
    fixture.run(
        "alter table staging.loads
             drop constraint if exists loads_origin_key, drop constraint if exists loads_origin_attempt_key;
         insert into staging.loads (load_id, origin, object, source, event_type, on_new_version, plan, started_at)
         select gen_random_uuid(), origin, object, source, event_type, on_new_version, plan, now() + interval '1 second'
         from staging.loads",
    )
    .await;
    let files =
        "select file_count * 10 + under_way_count from pipeline.batch_counts where event_type = 'stock'";
    assert_eq!(fixture.number(files).await, 11);
}

#[tokio::test]
async fn dashboards_and_maintenance_read_the_views_and_no_more() {
    let database = Database::new().await;
    let owner = database.owner().await;
    owner
        .batch_execute("insert into raw_events (source, event_type, payload) values ('shop', 'orders', '{}')")
        .await
        .unwrap();
    for role in ["millrace_reader", "millrace_maintain"] {
        let session = database.role(role).await;
        for view in ["batch_counts", "lag", "model_runs"] {
            session.batch_execute(&format!("select * from pipeline.{view}")).await.expect(view);
        }
        let rows = session.query("select * from pipeline.lag", &[]).await.unwrap();
        assert_eq!(rows.len(), 1);
        for sql in ["delete from pipeline.lag", "insert into pipeline.invalidations (model) values ('a')"] {
            let refused = session.batch_execute(sql).await.expect_err(sql);
            assert!(matches!(refused.code().unwrap().code(), "42501" | "55000"), "{role}: {sql}: {refused}");
        }
    }
    let reader = database.role("millrace_reader").await;
    for table in [
        "pipeline.runs",
        "pipeline.invalidations",
        "pipeline.migrations",
        "staging.batches",
        "staging.raw_events",
    ] {
        let refused = reader.batch_execute(&format!("select * from {table}")).await.expect_err(table);
        assert_eq!(refused.code().unwrap().code(), "42501", "{table}");
    }
}

#[tokio::test]
async fn a_model_is_listed_with_its_last_run_and_its_pending_work() {
    let database = Database::new().await;
    let owner = database.owner().await;
    owner
        .batch_execute(
            "insert into pipeline.models (model, kind, fingerprint, definition_hash, query)
                 values ('days', 'rollup', 'f', 'd', 'q'), ('never', 'fact', 'f', 'd', 'q');
             insert into pipeline.runs (run_id, model, activity, outcome, detail, row_count, started_at, finished_at) values
                 (gen_random_uuid(), 'days', 'refresh', 'ok', null, 5, now() - interval '3 hours', now() - interval '3 hours'),
                 (gen_random_uuid(), 'days', 'refresh', 'failed', 'why', 0, now() - interval '1 hour', now() - interval '1 hour'),
                 (gen_random_uuid(), 'gone', 'transform', 'failed', 'why', 0, now() - interval '2 days', now() - interval '2 days'),
                 (gen_random_uuid(), 'broken', 'transform', 'failed', 'why', 0, now(), now());
             insert into pipeline.invalidations (model, bucket, invalidated_at) values
                 ('days', '1', now() - interval '2 hours'), ('days', '1', now()), ('days', '2', now()),
                 ('by_hand', null, now() - interval '1 hour')",
        )
        .await
        .unwrap();
    let rows = owner
        .query(
            "select model, kind, coalesce(outcome, '-'), coalesce(round(extract(epoch from now() - last_ok_at))::bigint, -1),
                 coalesce(round(extract(epoch from now() - stale_since))::bigint, -1), coalesce(stale_bucket_count, -1)
             from pipeline.model_runs order by model",
            &[],
        )
        .await
        .unwrap();
    let found: Vec<(String, String, String, i64, i64, i64)> = rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4), row.get(5)))
        .collect();
    let expected = [
        ("broken", "not deployed", "failed", -1, -1, -1),
        ("by_hand", "not deployed", "-", -1, 3_600, -1),
        ("days", "rollup", "failed", 10_800, 7_200, 2),
        ("never", "fact", "-", -1, -1, -1),
    ]
    .map(|(model, kind, outcome, ok, stale, buckets)| {
        (model.to_owned(), kind.to_owned(), outcome.to_owned(), ok, stale, buckets)
    });
    // The times are those of the owner's other transaction, a moment ago.
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(
            (&found.0, &found.1, &found.2, found.5),
            (&expected.0, &expected.1, &expected.2, expected.5)
        );
        assert!(
            (found.3 - expected.3).abs() <= 30 && (found.4 - expected.4).abs() <= 30,
            "{found:?} {expected:?}"
        );
    }
    assert_eq!(found.len(), expected.len());
}

#[tokio::test]
async fn the_page_about_the_views_names_every_column_and_its_queries_run() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reconciliation.md");
    let page = std::fs::read_to_string(page).unwrap();
    let database = Database::new().await;
    let columns = "select attrelid::regclass::text, array_agg(attname::text order by attnum)
         from pg_attribute
         where attrelid in ('pipeline.batch_counts'::regclass, 'pipeline.lag'::regclass, 'pipeline.model_runs'::regclass)
         group by attrelid";
    let rows = database.owner().await.query(columns, &[]).await.unwrap();
    assert_eq!(rows.len(), 3);
    for row in rows {
        let (view, columns): (String, Vec<String>) = (row.get(0), row.get(1));
        let (_, section) = page.split_once(&format!("## `{view}`")).expect(&view);
        let section = section.split("\n## ").next().unwrap();
        let table = section.lines().filter(|line| line.starts_with("| `"));
        let cells = table.map(|line| line.split('|').nth(1).unwrap());
        let named: Vec<&str> =
            cells.flat_map(|cell| cell.split(", ")).map(|name| name.trim().trim_matches('`')).collect();
        assert_eq!(named, columns, "{view}");
    }
    let reader = database.role("millrace_reader").await;
    let queries: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("    select ")).collect();
    assert_eq!(queries.len(), 3);
    for query in queries {
        reader.batch_execute(&format!("select {query}")).await.expect(query);
    }
}
