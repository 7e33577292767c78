//! `millrace models` and `millrace tail`, run as a user runs them: with the owner's connection and a folder of files.

use std::process::Stdio;
use std::time::Duration;

use millrace_tests::process::signal;
use millrace_tests::runtime_api::binary;
use millrace_tests::terminal::{assert_fits, row};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::transform::fixture::{ORDERS, TransformFixture};

/// The result of a command.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    /// The command exited with `code` and printed all of `words`, on either stream.
    #[track_caller]
    fn is(&self, code: i32, words: &[&str]) {
        let everything = format!("{}{}", self.out, self.err);
        assert_eq!(self.code, Some(code), "{everything}");
        for word in words {
            assert!(everything.contains(word), "`{word}` is not in\n{everything}");
        }
    }

    #[track_caller]
    fn does_not_print(&self, word: &str) {
        assert!(!self.out.contains(word) && !self.err.contains(word), "{}{}", self.out, self.err);
    }
}

impl TransformFixture {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("millrace"));
        command
            .args(arguments)
            .env_clear()
            .envs(self.aws.variables(&self.database.url()))
            .env("MILLRACE_PIPELINE", self.pipeline.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs `millrace models …` to its end.
    async fn cli(&self, arguments: &[&str]) -> Said {
        let arguments = [&["models"], arguments].concat();
        said(self.command(&arguments).spawn().unwrap()).await
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.pipeline.path().join(format!("models/{name}.sql"))).unwrap();
    }

    /// The state that deploying, transforming or a backfill changes.
    async fn state(&self) -> String {
        let sql = "select string_agg(line, e'\\n' order by line) from (
             select concat_ws(' ', 'class', oid, relname, relkind, relowner, relfilenode, relacl) as line
             from pg_class
             where relnamespace in (select oid from pg_namespace where nspname in ('staging', 'pipeline', 'facts', 'public'))
             union all
             select concat_ws(' ', 'column', attrelid, attname, atttypid, atttypmod, attisdropped) from pg_attribute
             union all select concat_ws(' ', 'constraint', oid, conname) from pg_constraint
             union all select concat_ws(' ', 'function', oid, proname) from pg_proc
             union all select concat_ws(' ', 'trigger', oid, tgname) from pg_trigger
             union all select concat_ws(' ', 'comment', objoid, objsubid, description) from pg_description
             union all select 'models ' || to_jsonb(models)::text from pipeline.models
             union all select 'model_versions ' || to_jsonb(model_versions)::text from pipeline.model_versions
             union all select 'runs ' || to_jsonb(runs)::text from pipeline.runs
             union all select 'invalidations ' || to_jsonb(invalidations)::text from pipeline.invalidations
             union all select 'backfills ' || to_jsonb(backfills)::text from pipeline.backfills
             union all select 'backfill_batches ' || to_jsonb(backfill_batches)::text from pipeline.backfill_batches
             union all select 'batches ' || to_jsonb(batches)::text from staging.batches
         ) as everything (line)";
        self.owner.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Runs `models plan`, which must not change the state.
    async fn plan(&self) -> Said {
        let before = self.state().await;
        let said = self.cli(&["plan"]).await;
        assert!(before == self.state().await, "a plan changed something\n{}", said.out);
        said
    }

    /// Waits until a query returns more than 0.
    async fn until(&self, sql: &str) {
        for _ in 0..600 {
            if self.number(sql).await > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("for thirty seconds nothing came of {sql}");
    }

    /// Objects that the commands create belong to the functions' role.
    async fn check_owners(&self) {
        let made = "select count(*) from pg_class where relnamespace = 'facts'::regnamespace";
        assert!(self.number(made).await > 0);
        let foreign = format!("{made} and relowner <> 'millrace_transform'::regrole");
        assert_eq!(self.number(&foreign).await, 0);
    }
}

async fn said(child: Child) -> Said {
    let ended = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await;
    let output = ended.expect("it ends within a minute").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn interrupt(child: &Child) {
    signal(child.id().unwrap(), "INT");
}

const BIG: &str = "-- kind = \"view\"\nselect * from orders where total > 100";
const REFUNDS: &str = "-- kind = \"fact\"\n-- source = \"shop/refunds\"\nselect id as refund_id from batch";

#[tokio::test]
async fn check_names_the_place_of_every_mistake_and_needs_no_database() {
    let fixture = TransformFixture::new(&[("orders", ORDERS), ("big", BIG)]).await;
    let check = async || {
        let mut command = Command::new(binary("millrace"));
        command.args(["models", "check", "--pipeline"]).arg(fixture.pipeline.path()).env_clear();
        said(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()).await
    };
    check().await.is(0, &["2 models, nothing wrong"]);
    fixture.write("typo", "-- kind = \"view\"\n-- sourc = \"a\"\nselect 1 as a");
    fixture.write("lost", "-- kind = \"view\"\n\nselect *\nfrom ordes");
    let wrong = check().await;
    wrong.is(
        1,
        &[
            "models/typo.sql:2:4: unknown key `sourc`; did you mean `source`?",
            "models/lost.sql:4:6: there is no model `ordes`; did you mean `orders`?",
        ],
    );
    wrong.does_not_print("nothing wrong");

    let nowhere = fixture.cli(&["check", "--pipeline", "/nowhere"]).await;
    nowhere.is(2, &["/nowhere is not a folder"]);
}

#[tokio::test]
async fn graph_has_a_text_form_and_a_machine_readable_form() {
    let fixture = TransformFixture::new(&[("orders", ORDERS), ("big", BIG)]).await;
    for (format, words) in [
        ("text", ["orders (fact) ← shop/orders", "big (view) ← orders"]),
        ("mermaid", ["flowchart LR", "n_orders --> n_big"]),
        ("dot", ["digraph models {", "\"orders\" -> \"big\";"]),
    ] {
        fixture.cli(&["graph", "--format", format]).await.is(0, &words);
    }
    fixture.cli(&["graph"]).await.is(0, &["big (view) ← orders"]);
    fixture.cli(&["graph", "--format", "svg"]).await.is(2, &["mermaid"]);

    // Errors stay out of the output that programs read.
    fixture.write("lost", "-- kind = \"view\"\nselect * from nothing");
    let graph = fixture.cli(&["graph", "--format", "dot"]).await;
    graph.is(1, &["models/lost.sql:2:15"]);
    assert!(graph.out.starts_with("digraph") && !graph.out.contains("lost"), "{}", graph.out);
}

#[tokio::test]
async fn plan_reports_the_changes_and_writes_nothing() {
    let fixture = TransformFixture::new(&[]).await;
    fixture.many_orders(1, 100, "5").await;
    fixture.transformed().await;
    fixture.plan().await.is(0, &["has no models", "Nothing to do"]);

    fixture.write("orders", ORDERS);
    let new = fixture.plan().await;
    new.is(0, &["+ orders (fact): new", "history: 100 events in 1 batch, in place"]);
    new.does_not_print("Nothing to do");
    fixture.cli(&["run"]).await.is(0, &["1 ok"]);
    fixture.plan().await.is(0, &["Nothing to do: the database matches the files."]);

    fixture.write("orders", &ORDERS.replace("from batch", ", payload->>'colour' as colour\nfrom batch"));
    let wider = fixture.plan().await;
    wider.is(
        0,
        &[
            "~ orders (fact): add column colour text, another query",
            "+ , payload->>'colour' as colour",
            "history: 100 events in 1 batch, rebuilt into a new table, which then replaces the old one",
            "locks: ACCESS EXCLUSIVE on facts.orders",
        ],
    );
    wider.does_not_print("breaking");

    fixture.write("orders", &ORDERS.replace("numeric(12,2)", "double precision"));
    fixture.plan().await.is(
        1,
        &[
            "! orders (fact): breaking: total is numeric(12,2) and would become double precision",
            "`millrace models run orders --full-refresh`",
            "-     (payload->>'total')::numeric(12,2) as total,",
            "+     (payload->>'total')::double precision as total,",
        ],
    );

    // An error that only PostgreSQL detects.
    fixture.write("orders", &ORDERS.replace("payload->>'note'", "no_such_function(payload)"));
    fixture.plan().await.is(1, &["! orders (fact): ", "no_such_function"]);
    fixture.write("orders", "-- kind = \"fact\"\nselect");
    fixture.plan().await.is(1, &["models/orders.sql:"]);
}

#[tokio::test]
async fn one_file_and_one_command_make_facts_of_all_events() {
    let fixture = TransformFixture::new(&[]).await;
    for batch in 0..3 {
        fixture.many_orders(batch * 100, 100, "5").await;
    }
    fixture.transformed().await;
    fixture.many_orders(250, 100, "6").await;
    fixture.write("orders", ORDERS);
    fixture.cli(&["run"]).await.is(
        0,
        &[
            "deployed  orders",
            "ran       orders  100 rows",
            "caught up orders  300 events, ",
            "1 ok, 0 warned, 0 failed, 0 skipped",
        ],
    );
    fixture.check_orders().await;
    assert_eq!(fixture.facts().await.len(), 350);
    fixture.check_owners().await;
    let again = fixture.cli(&["run"]).await;
    again.is(0, &["1 ok, 0 warned, 0 failed, 0 skipped"]);
    again.does_not_print("caught up");
    again.does_not_print("deployed");
    // The function produces the same tables.
    fixture.orders(&[(1, "7", "later")]).await;
    fixture.transformed().await;
    fixture.check_orders().await;
}

#[tokio::test]
async fn a_changed_type_is_applied_on_request() {
    let fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
    fixture.many_orders(1, 100, "5").await;
    fixture.cli(&["run"]).await.is(0, &["ran       orders  100 rows"]);
    fixture.write("orders", &ORDERS.replace("numeric(12,2)", "double precision"));
    fixture.orders(&[(1, "6", "later")]).await;
    let refused = fixture.cli(&["run"]).await;
    refused.is(
        1,
        &[
            "failed    orders: ",
            "--full-refresh",
            "waits     shop/orders: until orders can be deployed",
            "0 ok, 0 warned, 1 failed, 0 skipped",
        ],
    );
    assert_eq!(fixture.number("select count(*) from facts.orders where total = 5").await, 100);

    fixture.cli(&["run", "--full-refresh"]).await.is(2, &["MODEL"]);
    fixture.cli(&["run", "orders", "--full-refresh"]).await.is(
        0,
        &[
            "rebuilt   orders  100 events, 100 rows",
            "ran       orders  1 row",
            "1 ok, 0 warned, 0 failed, 0 skipped",
        ],
    );
    let changed = "select count(*) from pg_attribute
         where attrelid = 'facts.orders'::regclass and attname = 'total' and atttypid = 'float8'::regtype";
    assert_eq!(fixture.number(changed).await, 1);
    assert_eq!(fixture.number("select count(*) from facts.orders where total = 6").await, 1);
    assert_eq!(fixture.facts().await.len(), 100);
    fixture.check_owners().await;
    fixture.plan().await.is(0, &["Nothing to do"]);

    // Only facts are made from events.
    fixture.write("big", BIG);
    fixture.cli(&["run", "big", "--full-refresh"]).await.is(2, &["big is a view: only facts"]);
    fixture.cli(&["backfill", "big"]).await.is(2, &["big is a view: only facts"]);
}

#[tokio::test]
async fn a_broken_file_holds_up_only_its_own_events() {
    let fixture =
        TransformFixture::new(&[("orders", ORDERS), ("refunds", &REFUNDS.replace("id as", "id as as"))])
            .await;
    fixture.many_orders(1, 10, "5").await;
    fixture
        .run("insert into raw_events (source, event_type, payload) values ('shop', 'refunds', '{}')")
        .await;
    let run = fixture.cli(&["run"]).await;
    run.is(
        1,
        &[
            "models/refunds.sql:3:",
            "ran       orders  10 rows",
            "waits     shop/refunds: ",
            "millrace models check",
            "1 ok, 0 warned, 1 failed, 0 skipped",
        ],
    );
    assert_eq!(fixture.facts().await.len(), 10);
    // A request for one model reports only that model. A broken file is treated like a missing one.
    fixture.cli(&["run", "orders"]).await.is(0, &["1 ok, 0 warned, 0 failed, 0 skipped"]);
    fixture.cli(&["run", "refunds"]).await.is(2, &["models/refunds.sql:3:"]);
    fixture.cli(&["test"]).await.is(1, &["models/refunds.sql:3:", "1 failed"]);
    fixture.write("refunds", REFUNDS);
    fixture.cli(&["run"]).await.is(0, &["ran       refunds  1 row", "2 ok, 0 warned, 0 failed, 0 skipped"]);

    // A query that PostgreSQL refuses is found on deployment, and the other models run.
    fixture.write("refunds", &REFUNDS.replace("id as", "no_such_function(id) as"));
    fixture.many_orders(11, 10, "5").await;
    fixture.cli(&["run"]).await.is(1, &["failed    refunds: ", "1 ok, 0 warned, 1 failed, 0 skipped"]);
    assert_eq!(fixture.facts().await.len(), 20);
}

#[tokio::test]
async fn a_backfill_can_be_postponed() {
    let fixture = TransformFixture::new(&[]).await;
    fixture.many_orders(1, 100, "5").await;
    fixture.transformed().await;
    fixture.write("orders", ORDERS);
    fixture.many_orders(101, 50, "5").await;
    let run = fixture.cli(&["run", "--no-backfill"]).await;
    run.is(0, &["ran       orders  50 rows", "1 ok"]);
    run.does_not_print("caught up");
    assert_eq!(fixture.facts().await.len(), 50);
    fixture.plan().await.is(0, &["= orders (fact)", "history: 100 events in 1 batch, in place"]);
    fixture
        .cli(&["backfill", "orders"])
        .await
        .is(0, &["caught up orders  100 events, 100 rows, 0 quarantined"]);
    fixture.check_orders().await;
    fixture.cli(&["backfill", "orders"]).await.is(0, &["orders has seen everything"]);
}

#[tokio::test]
async fn list_reports_the_state_of_each_model() {
    let fixture = TransformFixture::new(&[("orders", ORDERS), ("refunds", REFUNDS)]).await;
    let row = |said: &Said, name: &str| row(&said.out, "model", name);
    let list = fixture.cli(&["list"]).await;
    list.is(0, &[]);
    assert_fits(&list.out, 80);
    let orders = row(&list, "orders");
    assert_eq!(
        ["state", "outcome", "ago", "rows", "kind", "takes"].map(|name| orders[name].as_str()),
        ["not deployed", "-", "-", "-", "fact", "shop/orders"]
    );

    fixture.many_orders(1, 1_200, "5").await;
    fixture.cli(&["run"]).await.is(0, &[]);
    fixture.write("refunds", &REFUNDS.replace("id as refund_id", "id as refund_id, 1 as one"));
    fixture.write("lost", "-- kind = \"view\"\nselect * from nothing");
    let list = fixture.cli(&["list"]).await;
    list.is(1, &["models/lost.sql:2:15"]);
    let orders = row(&list, "orders");
    assert_eq!(
        ["state", "outcome", "rows", "kind"].map(|name| orders[name].as_str()),
        ["deployed", "ok", "1,200", "fact"]
    );
    assert_eq!(row(&list, "refunds")["state"], "changed");
    assert_eq!(row(&list, "lost")["state"], "broken");
}

#[tokio::test]
async fn list_fits_the_terminal_and_shows_why_a_model_failed() {
    let name = "orders_of_customers_with_a_very_long_name_and_more";
    let fixture = TransformFixture::new(&[("orders", ORDERS), (name, BIG)]).await;
    fixture.cli(&["run"]).await.is(0, &[]);
    let why = "ERROR: relation \"public.countries\" does not exist, said at some length\nin two lines";
    fixture
        .run(&format!(
            "insert into pipeline.runs (run_id, model, activity, outcome, detail, started_at, finished_at)
             values (gen_random_uuid(), 'orders', 'transform', 'failed', '{why}', now(), now())"
        ))
        .await;
    let list = fixture.cli(&["list"]).await;
    list.is(0, &["--wide shows every column"]);
    assert_fits(&list.out, 80);
    let orders = row(&list.out, "model", "orders");
    assert_eq!(["state", "outcome"].map(|name| orders[name].as_str()), ["deployed", "failed"]);
    assert!(
        orders["reason"].starts_with("ERROR: relation") && orders["reason"].ends_with('…'),
        "{}",
        list.out
    );
    assert!(list.out.contains("  orders_of_custom"), "{}", list.out);

    let wide = fixture.cli(&["list", "--wide"]).await;
    wide.is(0, &[name, "does not exist, said at some length⏎in two lines", "takes", "shop/orders"]);
    wide.does_not_print("--wide");

    let mut narrow = fixture.command(&["models", "list"]);
    let narrow = said(narrow.env("COLUMNS", "60").spawn().unwrap()).await;
    assert_fits(&narrow.out, 60);
    narrow.is(0, &["reason"]);
}

#[tokio::test]
async fn a_view_that_another_run_refreshes_is_left_to_that_run() {
    let totals = "-- kind = \"materialized_view\"\n-- key = [\"note\"]\nselect note, count(*) as orders from orders group by note";
    let fixture = TransformFixture::new(&[("orders", ORDERS), ("totals", totals)]).await;
    fixture.many_orders(1, 10, "5").await;
    fixture.cli(&["run"]).await.is(0, &["refreshed totals", "2 ok, 0 warned, 0 failed, 0 skipped"]);

    fixture.many_orders(11, 10, "5").await;
    let other = fixture.database.owner().await;
    let lock = "begin; select pg_advisory_xact_lock(hashtextextended('millrace.refresh.totals', 0))";
    other.batch_execute(lock).await.unwrap();
    fixture
        .cli(&["run"])
        .await
        .is(0, &["skipped   totals: another run is refreshing it", "1 ok, 0 warned, 0 failed, 1 skipped"]);
    other.batch_execute("rollback").await.unwrap();
    fixture.cli(&["run"]).await.is(0, &["refreshed totals", "2 ok, 0 warned, 0 failed, 0 skipped"]);
}

#[tokio::test]
async fn tests_are_run_over_everything_and_only_errors_fail() {
    let customers = "-- kind = \"fact\"\n-- source = \"shop/customers\"\n-- key = [\"id\"]
select (payload->>'id')::int as id from batch";
    let orders = "-- kind = \"fact\"
-- source = \"shop/orders\"
-- tests = [
--     {test = \"unique(order_id)\", severity = \"warn\"},
--     \"relationships(customer_id, customers.id)\",
--     \"freshness(ordered_at, '2 hours')\",
--     \"order_id > 0\",
-- ]
select
    (payload->>'order_id')::int as order_id,
    (payload->>'customer_id')::int as customer_id,
    received_at - (payload->>'hours_ago')::int * interval '1 hour' as ordered_at
from batch";
    let fixture = TransformFixture::new(&[("customers", customers), ("orders", orders)]).await;
    fixture.cli(&["test", "orders"]).await.is(1, &["failed  orders: ", "is it deployed?"]);
    fixture.run(
        "insert into raw_events (source, event_type, payload) values ('shop', 'customers', '{\"id\": 1}')",
    )
    .await;
    fixture.cli(&["run"]).await.is(0, &["2 ok"]);
    fixture.cli(&["test"]).await.is(
        1,
        &[
            "failed  orders: freshness(ordered_at, '2 hours'): the newest is older, or there is none",
            "3 ok, 0 warned, 1 failed",
        ],
    );
    let order = async |order_id: i32, customer_id: i32, hours_ago: i32| {
        fixture
            .run(&format!(
                "insert into raw_events (source, event_type, payload) values ('shop', 'orders',
                 '{{\"order_id\": {order_id}, \"customer_id\": {customer_id}, \"hours_ago\": {hours_ago}}}')"
            ))
            .await;
        fixture.cli(&["run"]).await.is(0, &["2 ok"]);
    };
    order(1, 1, 3).await;
    fixture.cli(&["test"]).await.is(1, &["the newest is older", "3 ok, 0 warned, 1 failed"]);
    order(2, 1, 1).await;
    fixture
        .cli(&["test"])
        .await
        .is(0, &["ok      orders: freshness(ordered_at, '2 hours')", "4 ok, 0 warned, 0 failed"]);
    order(2, 1, 1).await;
    fixture.cli(&["test"]).await.is(
        0,
        &["warned  orders: unique(order_id): 1 key is there more than once", "3 ok, 1 warned, 0 failed"],
    );
    order(3, 7, 1).await;
    fixture.cli(&["test"]).await.is(
        1,
        &[
            "failed  orders: relationships(customer_id, customers.id): 1 row has none in customers",
            "2 ok, 1 warned, 1 failed",
        ],
    );
    fixture.cli(&["test", "customers"]).await.is(0, &["0 ok, 0 warned, 0 failed"]);
    // A test that is added after the rows finds them, and they are kept.
    fixture.write("orders", &orders.replace("order_id > 0", "order_id > 2"));
    fixture.cli(&["run"]).await.is(0, &["2 ok"]);
    fixture.cli(&["test", "orders"]).await.is(1, &["failed  orders: order_id > 2: 3 rows fail"]);
}

#[tokio::test]
async fn a_backfill_that_is_interrupted_goes_on_to_its_end() {
    let fixture = TransformFixture::new(&[]).await;
    for batch in 0..20 {
        fixture.many_orders(batch * 50, 50, "5").await;
    }
    fixture.transformed().await;
    fixture.write("orders", ORDERS);
    // One batch per second.
    let backfill = fixture.command(&["models", "backfill", "orders", "--rate", "50"]).spawn().unwrap();
    let done = "select count(*) from pipeline.backfill_batches where done_at is not null";
    fixture.until(done).await;
    interrupt(&backfill);
    said(backfill).await.is(3, &["stopped   orders  after ", " of 1,000 events; run it again to continue"]);
    let done = fixture.number(done).await;
    assert!((1..20).contains(&done), "{done}");
    assert_eq!(fixture.facts().await.len() as i64, done * 50, "what is marked is there, and nothing else");

    fixture.cli(&["backfill", "orders"]).await.is(0, &["caught up orders  1,000 events, "]);
    fixture.check_orders().await;
    assert_eq!(fixture.number("select count(*) from pipeline.backfills").await, 1, "the same one");
    let events = "select sum(event_count)::bigint from pipeline.runs where activity = 'backfill'";
    assert_eq!(fixture.number(events).await, 1_000, "no event twice");
    fixture.check_owners().await;
    fixture.cli(&["backfill", "orders", "--rate", "0"]).await.is(2, &["--rate"]);
}

#[tokio::test]
async fn a_run_that_waits_for_a_lock_can_be_stopped() {
    let fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
    fixture.many_orders(1, 10, "5").await;
    fixture.cli(&["run"]).await.is(0, &[]);
    fixture.many_orders(11, 10, "5").await;
    let holder = fixture.database.owner().await;
    holder.batch_execute("begin; lock table facts.orders").await.unwrap();
    let run = fixture.command(&["models", "run"]).spawn().unwrap();
    fixture.until(
        "select count(*) from pg_stat_activity
         where datname = current_database() and application_name = 'millrace models' and wait_event_type = 'Lock'",
    )
    .await;
    interrupt(&run);
    said(run).await.is(3, &["stopped"]);
    drop(holder);
    fixture.cli(&["run"]).await.is(0, &["ran       orders  10 rows"]);
    fixture.check_orders().await;
}

#[tokio::test]
async fn a_name_that_is_no_model_is_refused_before_anything_is_done() {
    let fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
    fixture.many_orders(1, 10, "5").await;
    let before = fixture.state().await;
    for command in ["run", "test", "backfill"] {
        fixture.cli(&[command, "ordes"]).await.is(2, &["there is no model `ordes`; did you mean `orders`?"]);
        fixture.cli(&[command, "x'; drop table y"]).await.is(2, &["there are orders"]);
    }
    assert!(before == fixture.state().await);
    fixture.remove("orders");
    fixture.cli(&["run", "orders"]).await.is(2, &["there is no model `orders`"]);
}

#[tokio::test]
async fn tail_prints_a_line_for_each_commit_of_facts_and_survives_a_restart() {
    let fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
    let mut tail = fixture.command(&["tail"]).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await;
        line.expect("a line within half a minute").unwrap().expect("it goes on")
    };
    assert!(next().await.starts_with("listening on channel millrace"));
    for count in [3, 1_200] {
        fixture.many_orders(1, count, "5").await;
        fixture.cli(&["run"]).await.is(0, &["1 ok"]);
        let events = if count == 3 { "3 events" } else { "1,200 events" };
        assert_eq!(next().await, format!("transform  shop/orders  {events}  orders +{count}"));
    }
    // A database that restarts ends the connection.
    let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity
         where application_name = 'millrace tail' and datname = current_database()";
    assert_eq!(fixture.number(kill).await, 1);
    assert!(next().await.starts_with("the connection ended ("));
    assert!(next().await.starts_with("listening again on channel millrace"));
    fixture.many_orders(5_000, 3, "5").await;
    fixture.cli(&["run"]).await.is(0, &["1 ok"]);
    assert_eq!(next().await, "transform  shop/orders  3 events  orders +3");
    interrupt(&tail);
    said(tail).await.is(0, &[]);
}

#[tokio::test]
async fn run_survives_a_restart_of_the_database() {
    let fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
    fixture.many_orders(1, 3, "5").await;
    fixture.cli(&["run"]).await.is(0, &["1 ok"]);
    fixture.many_orders(4, 3, "5").await;
    // The run waits for this lock in the middle of its transaction.
    let blocker = fixture.database.owner().await;
    blocker.batch_execute("begin; lock table facts.orders in share mode").await.unwrap();
    let run = fixture.command(&["models", "run"]).spawn().unwrap();
    let waiting = "select count(*) from pg_stat_activity
         where application_name = 'millrace models' and datname = current_database() and wait_event_type = 'Lock'";
    fixture.until(waiting).await;
    // A database that restarts ends every connection.
    let kill = waiting.replace("count(*)", "count(pg_terminate_backend(pid))");
    assert_eq!(fixture.number(&kill).await, 1);
    blocker.batch_execute("commit").await.unwrap();
    said(run).await.is(0, &["1 ok"]);
    assert_eq!(fixture.number("select count(*) from facts.orders").await, 6);
    fixture.check_orders().await;
}

#[tokio::test]
async fn every_models_command_has_help() {
    let fixture = TransformFixture::new(&[]).await;
    for command in ["list", "check", "plan", "run", "test", "backfill", "graph"] {
        fixture.cli(&[command, "--help"]).await.is(0, &[&format!("Usage: millrace models {command}")]);
    }
    fixture.cli(&["run", "--help"]).await.is(0, &["--full-refresh", "--no-backfill"]);
}
