use super::*;
use crate::model::{Bucket, BucketRange, OnConflict, Severity};

const ORDERS: &str = "-- kind = \"fact\"
-- source = \"shop/orders\"
-- key = [\"order_id\"]
select (payload->>'order_id')::bigint as order_id, (payload->>'at')::timestamptz as ordered_at from batch";

fn project(files: &[(&str, &str)]) -> Project {
    let files: Vec<(String, String)> =
        files.iter().map(|(name, text)| (format!("models/{name}.sql"), (*text).to_owned())).collect();
    Project::parse(&files)
}

fn fact(query: &str) -> Project {
    project(&[("orders", ORDERS), ("x", &format!("-- kind = \"fact\"\n-- source = \"shop/*\"\n{query}"))])
}

fn view(query: &str) -> Project {
    project(&[("orders", ORDERS), ("x", &format!("-- kind = \"view\"\n{query}"))])
}

fn reads(project: &Project) -> Vec<&str> {
    assert_eq!(project.problems(), Vec::<&str>::new());
    project
        .model("x")
        .unwrap()
        .reads
        .iter()
        .map(|read| match read {
            Reference::Batch => "batch",
            Reference::Model(name) | Reference::Other(name) => name,
        })
        .collect()
}

#[test]
fn a_header_becomes_a_model() {
    let text = "-- kind = \"fact\"
-- # An order is corrected by a later one.
-- description = \"Orders\"
-- source = [\"shop/orders\", \"legacy/*\"]
-- key = [\"order_id\"]
-- on_conflict = \"ignore\"
-- indexes = [[\"status\"]]
-- tests = [\"total >= 0\", {test = \"unique(order_id)\", severity = \"warn\"}]
-- columns.order_id = \"The shop's own number\"

-- This is prose.
select 1 as order_id, 2 as total, '' as status
from batch -- all of them
;
";
    let project = project(&[("orders", text)]);
    assert_eq!(project.problems(), Vec::<&str>::new());
    let model = &project.models[0];
    assert_eq!((model.kind, model.on_conflict), (ModelKind::Fact, OnConflict::Ignore));
    assert_eq!(model.query, "select 1 as order_id, 2 as total, '' as status\nfrom batch");
    assert_eq!(model.query_line, 12);
    assert!(model.routes[0].takes("shop", "orders") && !model.routes[0].takes("shop", "refunds"));
    assert!(model.routes[1].takes("legacy", "anything"));
    assert_eq!(model.tests[1].severity, Severity::Warn);
    assert_eq!(model.columns["order_id"], "The shop's own number");
    assert_eq!(model.max_quarantined_share, 0.5);
}

#[test]
fn what_a_query_reads_is_found_wherever_it_stands() {
    let cases = [
        ("select * from orders", vec!["orders"]),
        ("select * from facts.orders o join public.countries using (id)", vec!["orders", "public.countries"]),
        ("select 1 as a where exists (select from orders where order_id = 1)", vec!["orders"]),
        ("select (select max(order_id) from orders) as a", vec!["orders"]),
        ("with o as (select * from orders) select * from o", vec!["orders"]),
        // The name inside is the model; outside it is the common table.
        ("with orders as (select * from orders) select * from orders", vec!["orders"]),
        (
            "with recursive r as (select 1 as n union all select n + 1 from r where n < 3) select * from r",
            vec![],
        ),
        ("select * from orders union all select * from raw_events", vec!["orders", "staging.raw_events"]),
        ("select * from generate_series(1, 3) as n", vec![]),
        ("select * from orders, lateral (select 1 as one) as l", vec!["orders"]),
    ];
    for (query, expected) in cases {
        assert_eq!(reads(&view(query)), expected, "{query}");
    }
}

#[test]
fn postgresql_as_people_write_it_is_understood() {
    for query in [
        "select payload->>'a' as a, payload #>> '{b,0}' as b, payload @> '{\"c\": 1}' as c, payload ? 'd' as d from batch",
        "select id, line.value->>'sku' as sku, line.ordinality as n from batch cross join lateral jsonb_array_elements(payload->'lines') with ordinality as line (value, ordinality)",
        "select r.* from batch cross join lateral jsonb_to_recordset(payload->'rows') as r (a int, b text)",
        "select distinct on (id) id, received_at at time zone 'UTC' as at, interval '1 day' as d from batch order by id",
        "select id, count(*) filter (where payload is not null) as n, sum(1) over (partition by source) as s from batch group by id, source",
        "select (payload->>'total')::numeric(12,2) as total, coalesce(nullif(payload->>'x', ''), e'\\n') as x, array(select 1) as xs from batch",
        "select case when payload is distinct from '{}' then $$a$$ else 'b' end as c, id = any(array[1, 2]) as d from batch",
        "select jsonb_path_query(payload, '$.a[*]') as p from batch",
        "values (1)",
    ] {
        let project = fact(query);
        if query.starts_with("values") {
            assert!(project.problems()[0].contains("a fact must read `batch`"), "{:?}", project.problems());
        } else {
            assert_eq!(reads(&project), ["batch"], "{query}");
        }
    }
}

#[test]
fn problems_name_their_place_and_what_to_do() {
    let cases = [
        ("", "models/x.sql:1:1: the header is missing"),
        ("-- kind = \"facts\"\nselect 1 as a", "models/x.sql:1:11: `facts` is none of"),
        (
            "-- kind = \"view\"\n-- sourc = \"a\"\nselect 1 as a",
            "models/x.sql:2:4: unknown key `sourc`; did you mean `source`",
        ),
        ("-- kind = \"view\"\n-- source = \"a/b\"\nselect 1 as a", "models/x.sql:2:4: `source` is a fact's"),
        ("-- kind = \"view\"", "there is no query"),
        ("-- kind = \"view\"\nselect * from order", "models/x.sql:2"),
        (
            "-- kind = \"view\"\nselect * from ordres",
            "models/x.sql:2:15: there is no model `ordres`; did you mean `orders`",
        ),
        ("-- kind = \"view\"\nselect 1; select 2", "models/x.sql:2:9: a model is one query"),
        ("-- kind = \"view\"\ndelete from orders", "models/x.sql:2:1: a model is one query"),
        ("-- kind = \"view\"\nselect * from batch", "only a fact reads `batch`"),
        ("-- kind = \"fact\"\n-- source = \"shop\"\nselect 1 as a from batch", "write `shop/*`"),
        (
            "-- kind = \"fact\"\n-- source = \"a/b\"\n-- on_conflict = \"update\"\nselect 1 as a from batch",
            "`on_conflict` requires `key`",
        ),
        ("-- kind = \"materialized_view\"\nselect * from orders", "without blocking readers"),
        ("-- kind = \"view\"\n-- tests = [\"sum(a) > 0\"]\nselect 1 as a", "models/x.sql:2"),
        ("-- kind = \"view\"\n-- this is prose\nselect 1 as a", "with `#`"),
        ("-- kind = \"view\"\nselect * from x", "in a cycle: x → x"),
    ];
    for (text, expected) in cases {
        let project = project(&[("orders", ORDERS), ("x", text)]);
        assert!(
            project.problems().iter().any(|problem| problem.contains(expected)),
            "{text:?}: {:?}",
            project.problems()
        );
        assert!(project.model("orders").is_some());
    }
}

#[test]
fn models_come_after_what_they_read_and_cycles_are_refused() {
    let view = |query: &str| format!("-- kind = \"view\"\n{query}");
    let ordered =
        project(&[("a", &view("select * from z")), ("orders", ORDERS), ("z", &view("select * from orders"))]);
    let names: Vec<&str> = ordered.models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names, ["orders", "z", "a"]);
    let above: Vec<&str> = ordered.downstream("orders").iter().map(|model| model.name.as_str()).collect();
    assert_eq!(above, ["z", "a"]);
    let round = project(&[
        ("a", &view("select * from b")),
        ("b", &view("select * from c")),
        ("c", &view("select * from b")),
        ("orders", ORDERS),
    ]);
    assert_eq!(round.models.len(), 1);
    let problems = round.problems();
    assert!(problems[0].contains("it reads `b`, which is broken"), "{problems:?}");
    assert!(problems[1].contains("b → c → b"), "{problems:?}");
}

#[test]
fn a_broken_file_says_whose_events_wait() {
    let routes = |text: &str| project(&[("x", text)]).broken[0].routes.clone();
    assert_eq!(
        routes("-- kind = \"fact\"\n-- source = \"a/b\"\nselect"),
        Some(vec![EventRoute { source: "a".into(), event_type: Some("b".into()) }])
    );
    assert_eq!(routes("-- kind = \"view\"\nselect"), Some(vec![]));
    assert_eq!(routes("-- kind = \"fact\nselect"), None);
}

#[test]
fn a_fingerprint_follows_the_meaning_alone() {
    let print = |text: &str| project(&[("x", text)]).models[0].fingerprint.clone();
    let plain = print("-- kind = \"view\"\nselect 1 as a");
    assert_eq!(plain, print("-- kind = \"view\"\n-- description = \"d\"\n\n  SELECT 1 -- one\n AS a;"));
    assert_ne!(plain, print("-- kind = \"view\"\nselect 2 as a"));
    assert_ne!(plain, print("-- kind = \"view\"\nselect 1 as \"A\""));
}

#[test]
fn what_the_parser_does_not_take_is_declared() {
    let query = "select * from only (batch) as b merge nonsense";
    let without = fact(query);
    assert!(without.problems()[0].contains("reads = ["), "{:?}", without.problems());
    let with = project(&[(
        "x",
        &format!("-- kind = \"fact\"\n-- source = \"a/b\"\n-- reads = [\"batch\", \"public.t\"]\n{query}"),
    )]);
    assert_eq!(reads(&with), ["batch", "public.t"]);
}

fn rollup(header: &str, query: &str) -> Project {
    project(&[("orders", ORDERS), ("x", &format!("-- kind = \"rollup\"\n{header}\n{query}"))])
}

#[test]
fn a_rollup_knows_its_bucket() {
    let header = "-- key = [\"day\"]\n-- bucket = \"day\"";
    let span = |step: &str| BucketRange::Span { column: "ordered_at".into(), step: step.into() };
    let cases = [
        (
            "select date_trunc('day', ordered_at) as day, count(*) as n from orders group by 1",
            "date_trunc('day', ordered_at)",
            span("1 day"),
        ),
        (
            "select date_trunc('quarter', o.ordered_at) as day, count(*) as n from orders o group by day",
            "date_trunc('quarter', ordered_at)",
            span("3 months"),
        ),
        (
            "select ordered_at::date as day, count(*) as n from orders group by ordered_at::date",
            "ordered_at::DATE",
            span("1 day"),
        ),
        (
            "select order_id as day, count(*) as n from orders group by order_id",
            "order_id",
            BucketRange::Value { column: "order_id".into() },
        ),
        (
            "select order_id % 10 as day, count(*) as n from orders group by 1",
            "order_id % 10",
            BucketRange::Unknown,
        ),
    ];
    for (query, expression, range) in cases {
        let project = rollup(header, query);
        assert_eq!(project.problems(), Vec::<&str>::new(), "{query}");
        let expected =
            Bucket { column: "day".into(), model: "orders".into(), expression: expression.into(), range };
        assert_eq!(project.model("x").unwrap().bucket, Some(expected), "{query}");
    }
}

#[test]
fn a_rollup_that_cannot_be_computed_by_bucket_is_refused() {
    let header = "-- key = [\"day\"]\n-- bucket = \"day\"";
    for query in [
        "select count(*) as n from orders",
        "select ordered_at as day, count(*) as n from orders",
        "select ordered_at as day, count(*) as n from orders group by 1 limit 3",
        "select ordered_at as day, sum(count(*)) over () as n from orders group by 1",
        "select ordered_at as day, count(*) as n from orders a join orders b using (order_id) group by 1",
        "select a.ordered_at as day, count(*) as n from orders a join orders b using (order_id) group by 1",
        "select ordered_at as day, count(*) as n from orders group by 1 union all select now(), 1",
        "select ordered_at as day, count(*) as n, (select count(*) from facts.orders) as m from orders group by 1",
        "select day, count(*) as n from (select ordered_at as day from orders) o group by 1",
        "select 1 as day, count(*) as n from public.t group by 1",
    ] {
        assert!(!rollup(header, query).problems().is_empty(), "{query}");
    }
}

proptest::proptest! {
    #[test]
    fn no_file_stops_the_reader(text in "(-- )?(kind = \"(fact|view|rollup)\"\n)?[ -~\n\u{fc}\u{1f980}]{0,200}") {
        project(&[("x", &text)]);
    }
}
