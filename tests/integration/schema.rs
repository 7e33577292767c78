//! The schema: privileges, partitions, the view, migrations.

use std::collections::BTreeSet;
use std::time::Duration;

use millrace::config::csv::OnNewVersion;
use millrace::migrate::{MIGRATIONS, migrate, pending};
use millrace::{Code, Kind, LoadOutcome};
use millrace_models::backfill::BackfillTarget;
use millrace_models::model::ModelKind;
use millrace_models::runs::{RunActivity, RunOutcome};
use millrace_tests::postgres::{Database, client, number, start_server};
use tokio_postgres::Client;
use uuid::Uuid;

async fn refused(client: &Client, sql: &str) -> String {
    let error = client.batch_execute(sql).await.expect_err(sql);
    error.code().expect("a SQLSTATE").code().to_owned()
}

const PRIVILEGE: &str = "42501";

#[tokio::test]
async fn the_ingest_role_can_add_and_nothing_else() {
    let database = Database::new().await;
    let ingest = database.role("millrace_ingest").await;
    ingest
        .batch_execute("insert into raw_events (source, event_type, payload) values ('a', 'b', '{}')")
        .await
        .expect("insert");
    ingest
        .batch_execute(
            "insert into deliveries (source, delivery_key, received_at, expires_at) values ('a', 'id:1', now(), now());
             update deliveries set received_at = now(), expires_at = now(); select expire_delivery_keys(1)",
        )
        .await
        .expect("remember and forget a delivery");
    for sql in [
        "select * from staging.events",
        "select * from raw_events",
        "update staging.batches set processed_at = now()",
        "delete from staging.events",
        "truncate staging.batches",
        "delete from staging.load_results",
        "delete from staging.deliveries",
        "truncate staging.deliveries",
        "update staging.deliveries set source = 'b'",
        "update staging.deliveries set delivery_key = 'id:2'",
        "insert into staging.load_results (load_id, outcome, record_count) values (gen_random_uuid(), 'loaded', 0)",
        "insert into staging.batches (batch_id, origin, source, event_type, received_at, read_count, staged_count, processed_at)
         values (gen_random_uuid(), 'o', 'a', 'b', now(), 0, 0, now())",
        "insert into staging.loads (load_id, origin, object, source, event_type, on_new_version, plan, started_at)
         values (gen_random_uuid(), 'o', 'o', 'a', 'b', 'append', '{}', now())",
        "create table staging.mine (id int)",
        "create table public.mine (id int)",
        "select * from pipeline.migrations",
        "select staging.ensure_partitions_ahead(3)",
        "drop table staging.events",
    ] {
        assert_eq!(refused(&ingest, sql).await, PRIVILEGE, "{sql}");
    }
}

#[tokio::test]
async fn the_other_roles_are_refused_what_they_do_not_need() {
    let database = Database::new().await;
    let transform = database.role("millrace_transform").await;
    transform
        .batch_execute("select * from raw_events; create table facts.orders (id int); insert into facts.orders values (1)")
        .await
        .expect("the transform role reads staging and owns facts");
    for sql in [
        "insert into staging.events (received_at, batch_id, source, event_type, payload) values (now(), gen_random_uuid(), 'a', 'b', '{}')",
        "update staging.batches set staged_count = 0",
        "update staging.events set payload = '{}'",
        "delete from staging.batches",
        "select staging.ensure_partition(current_date)",
    ] {
        assert_eq!(refused(&transform, sql).await, PRIVILEGE, "{sql}");
    }
    let reader = database.role("millrace_reader").await;
    reader.batch_execute("select * from facts.orders").await.expect("the reader reads facts");
    for sql in [
        "select * from staging.raw_events",
        "insert into facts.orders values (2)",
        "select * from staging.batches",
    ] {
        assert_eq!(refused(&reader, sql).await, PRIVILEGE, "{sql}");
    }
}

#[tokio::test]
async fn every_role_has_timeouts_and_a_fixed_search_path() {
    let database = Database::new().await;
    for role in ["millrace_ingest", "millrace_transform", "millrace_maintain", "millrace_reader"] {
        let client = database.role(role).await;
        for setting in [
            "statement_timeout",
            "lock_timeout",
            "idle_in_transaction_session_timeout",
            "client_connection_check_interval",
        ] {
            let value: String = client.query_one(&format!("show {setting}"), &[]).await.unwrap().get(0);
            assert_ne!(value, "0", "{role} {setting}");
        }
        let path: String = client.query_one("show search_path", &[]).await.unwrap().get(0);
        assert_eq!(path, "staging, facts, pg_temp", "{role}");
        // The setting of the socket itself: a client that vanished in the middle of a COPY is detected after half a
        // minute.
        let seconds = "select current_setting('tcp_keepalives_idle')::bigint
             + current_setting('tcp_keepalives_interval')::bigint * current_setting('tcp_keepalives_count')::bigint";
        assert!((1..=30).contains(&number(&client, seconds).await), "{role}");
    }
}

/// The words that the check constraint `name` allows.
async fn allowed_words(client: &Client, name: &str) -> BTreeSet<String> {
    let row = client
        .query_one("select pg_get_constraintdef(oid) from pg_constraint where conname = $1", &[&name])
        .await
        .expect(name);
    let definition: String = row.get(0);
    definition.split('\'').skip(1).step_by(2).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_constraints_allow_the_words_of_the_code_and_no_other() {
    let database = Database::new().await;
    let owner = database.owner().await;
    let words = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
    for (constraint, expected) in [
        ("load_results_outcome_known", words(&LoadOutcome::ALL.map(LoadOutcome::name))),
        ("loads_on_new_version_known", words(&OnNewVersion::ALL.map(OnNewVersion::name))),
        ("runs_activity_known", words(&RunActivity::ALL.map(RunActivity::name))),
        ("runs_outcome_known", words(&RunOutcome::ALL.map(RunOutcome::name))),
        ("models_kind_known", words(&ModelKind::ALL.map(ModelKind::name))),
        ("backfills_target_known", words(&BackfillTarget::ALL.map(BackfillTarget::name))),
    ] {
        assert_eq!(allowed_words(&owner, constraint).await, expected, "{constraint}");
    }
}

#[tokio::test]
async fn an_insert_into_the_view_becomes_a_batch_for_each_source_and_event_type() {
    let database = Database::new().await;
    let owner = database.owner().await;
    let rows = owner
        .query(
            "insert into raw_events (source, event_type, payload)
             select 's', 'e' || n % 3, jsonb_build_object('n', n) from generate_series(1, 300) as n
             returning id, batch_id, processed",
            &[],
        )
        .await
        .expect("insert");
    assert_eq!(rows.len(), 300);
    assert!(rows.iter().all(|row| !row.get::<_, bool>("processed")));
    assert_eq!(number(&owner, "select count(*) from staging.batches where staged_count = 100").await, 3);
    assert_eq!(number(&owner, "select count(*) from raw_events where not processed").await, 300);
    // {"n": 1} to {"n": 300}, in jsonb's text form.
    let bytes =
        "select sum(payload_bytes)::bigint from staging.batches where payload_bytes between 900 and 1000";
    assert_eq!(number(&owner, bytes).await, 9 * 8 + 90 * 9 + 201 * 10);
    assert_eq!(number(&owner, "select count(distinct received_at) from raw_events").await, 1);
    let uuid: Uuid = rows[0].get("batch_id");
    assert_eq!(uuid.get_version_num(), 7);
    // Two statements of one transaction make two batches. A rolled back statement makes none.
    owner
        .batch_execute(
            "begin; insert into raw_events (source, event_type, payload) values ('t', 'e', '{}');
             insert into raw_events (source, event_type, payload) values ('t', 'e', '{}'); commit;
             begin; insert into raw_events (source, event_type, payload) values ('t', 'e', '{}'); rollback",
        )
        .await
        .expect("insert");
    assert_eq!(number(&owner, "select count(*) from staging.batches where source = 't'").await, 2);
    let error = refused(
        &owner,
        "insert into raw_events (source, event_type, payload, processed) values ('a', 'b', '{}', true)",
    );
    assert_eq!(error.await, "428C9");
}

#[tokio::test]
async fn an_insert_within_an_insert_loses_no_ledger_row() {
    let database = Database::new().await;
    let owner = database.owner().await;
    owner
        .batch_execute(
            "set datestyle = 'SQL, DMY'; set timezone = 'Asia/Kolkata';
             create function public.inner_insert(n int) returns jsonb language plpgsql volatile as $$ begin
                 insert into staging.raw_events (source, event_type, payload) values ('inner', 'e', '{}');
                 return jsonb_build_object('n', n);
             end $$;
             insert into raw_events (source, event_type, payload)
                 select 'outer', 'e' || n, public.inner_insert(n) from generate_series(1, 3) as n",
        )
        .await
        .expect("insert");
    assert_eq!(number(&owner, "select count(*) from staging.events").await, 6);
    assert_eq!(number(&owner, "select sum(staged_count)::bigint from staging.batches").await, 6);
    assert_eq!(number(&owner, "select count(*) from raw_events").await, 6);
    let late = "select count(*) from raw_events where abs(extract(epoch from now() - received_at)) > 60";
    assert_eq!(number(&owner, late).await, 0, "received_at does not depend on the session's settings");
}

#[tokio::test]
async fn a_newer_version_hides_an_older_one_that_has_no_sequencer_or_never_finished() {
    let database = Database::new().await;
    let owner = database.owner().await;
    owner
        .batch_execute(
            "do $$ declare
                 loads uuid[] := array[gen_random_uuid(), gen_random_uuid(), gen_random_uuid()];
             begin
                 for n in 1..3 loop
                     insert into staging.loads (load_id, origin, object, source, event_type, sequencer, modified_at, on_new_version, plan)
                     values (loads[n], 's3://b/k?version=' || n, 's3://b/k', 's', 'e',
                             case when n = 3 then null else '0' || n end, timestamptz '2026-01-01 00:00:00+00' + n * interval '1 hour', 'replace', '{}');
                     insert into staging.batches (batch_id, load_id, origin, source, event_type, received_at, read_count, staged_count)
                     values (gen_random_uuid(), loads[n], 's3://b/k?version=' || n || '#0', 's', 'e', now(), 1, 1);
                 end loop;
                 perform staging.finish_load(loads[3], 'loaded', 1, null);
                 perform staging.finish_load(loads[2], 'stopped', 1, null);
             end $$",
        )
        .await
        .expect("three versions");
    let visible: Vec<String> = owner
        .query("select origin from staging.batches where superseded_at is null", &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(visible, ["s3://b/k?version=3#0"]);
}

#[tokio::test]
async fn a_missing_partition_is_created_on_demand_for_any_role() {
    let database = Database::new().await;
    let owner = database.owner().await;
    owner.batch_execute("do $$ declare t regclass; begin for t in select inhrelid::regclass from pg_inherits where inhparent = 'staging.events'::regclass loop execute 'drop table ' || t; end loop; end $$").await.expect("drop every partition");
    let inserts = (0..8).map(|_| async {
        let ingest = database.role("millrace_ingest").await;
        ingest
            .batch_execute("insert into raw_events (source, event_type, payload) values ('a', 'b', '{}')")
            .await
            .expect("insert");
    });
    futures_util::future::join_all(inserts).await;
    assert_eq!(number(&owner, "select count(*) from raw_events").await, 8);
}

#[tokio::test]
async fn a_day_is_a_utc_day_whatever_the_sessions_time_zone() {
    let database = Database::new().await;
    let owner = database.owner().await;
    owner
        .batch_execute(
            "set timezone = 'Pacific/Kiritimati';
             select staging.ensure_partition((timestamptz '2026-11-30 23:59:59.999999+00' at time zone 'UTC')::date);
             insert into staging.events (received_at, batch_id, source, event_type, payload) values
                 ('2026-11-30 00:00:00+00', gen_random_uuid(), 'a', 'b', '{}'),
                 ('2026-11-30 23:59:59.999999+00', gen_random_uuid(), 'a', 'b', '{}')",
        )
        .await
        .expect("both ends of the day");
    let names =
        owner.query("select distinct tableoid::regclass::text from staging.events", &[]).await.unwrap();
    assert_eq!(names.len(), 1);
    assert!(names[0].get::<_, String>(0).ends_with("events_20261130"));
    assert_eq!(refused(&owner, "select staging.ensure_partition('1999-01-01')").await, "22008");
}

#[tokio::test]
async fn the_newest_version_wins_in_any_order_of_completion() {
    let database = Database::new().await;
    let owner = database.owner().await;
    let orders = [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]];
    for (number, order) in orders.iter().enumerate() {
        for version in order {
            // Sequencers of different lengths: 9, 0A, 00B.
            let sequencer = ["9", "0A", "00B"][version - 1];
            owner
                .batch_execute(&format!(
                    "do $$ declare id uuid := gen_random_uuid(); begin
                         insert into staging.loads (load_id, origin, object, source, event_type, sequencer, on_new_version, plan)
                         values (id, 's3://b/{number}?version={version}', 's3://b/{number}', 's', 'e', '{sequencer}', 'replace', '{{}}');
                         insert into staging.batches (batch_id, load_id, origin, source, event_type, received_at, read_count, staged_count)
                         values (gen_random_uuid(), id, 's3://b/{number}?version={version}#0', 's', 'e', now(), 1, 1);
                         perform staging.finish_load(id, 'loaded', 1, null);
                         perform staging.finish_load(id, 'loaded', 1, null);
                     end $$"
                ))
                .await
                .expect("a version");
        }
        let visible: Vec<String> = owner
            .query(
                "select origin from staging.batches where superseded_at is null and origin like $1",
                &[&format!("s3://b/{number}?%")],
            )
            .await
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect();
        assert_eq!(visible, [format!("s3://b/{number}?version=3#0")], "{order:?}");
    }
}

#[tokio::test]
async fn migrations_run_once_even_when_two_run_concurrently() {
    let database = Database::empty().await;
    let runs = (0..3).map(|_| async {
        let mut client = database.owner().await;
        migrate(&mut client, |_, _| {}).await.expect("migrate").applied.len()
    });
    let applied: usize = futures_util::future::join_all(runs).await.into_iter().sum();
    assert_eq!(applied, MIGRATIONS.len());
    let mut client = database.owner().await;
    assert_eq!(pending(&mut client).await.unwrap(), Vec::<&str>::new());
    assert!(migrate(&mut client, |_, _| {}).await.unwrap().applied.is_empty());
    assert_eq!(
        number(&client, "select count(*) from pg_inherits where inhparent = 'staging.events'::regclass")
            .await,
        8
    );
}

#[tokio::test]
async fn drift_is_refused_with_advice() {
    for (change, word) in [
        (
            "update pipeline.migrations set checksum = 'x' where version = 2",
            "was changed after it was applied",
        ),
        ("delete from pipeline.migrations where version = 2", "is missing between"),
        (
            "insert into pipeline.migrations (version, name, checksum) values (99, '0099_later', 'x')",
            "does not know",
        ),
    ] {
        let database = Database::new().await;
        let mut client = database.owner().await;
        client.batch_execute(change).await.unwrap();
        let error = migrate(&mut client, |_, _| {}).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::Config, Code::MigrationDrift));
        assert!(error.message().contains(word), "{}", error.message());
    }
}

#[tokio::test]
async fn migrating_while_events_come_in_loses_none() {
    let database = Database::new().await;
    let inserting = async {
        let ingest = database.role("millrace_ingest").await;
        for _ in 0..200 {
            ingest
                .batch_execute("insert into raw_events (source, event_type, payload) values ('a', 'b', '{}')")
                .await
                .expect("acknowledged");
        }
    };
    let altering = async {
        let owner = database.owner().await;
        for n in 0..20 {
            let sql =
                format!("set lock_timeout = '2s'; alter table staging.batches add column extra_{n} int");
            owner.batch_execute(&sql).await.expect("alter");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    futures_util::join!(inserting, altering);
    assert_eq!(number(&database.owner().await, "select count(*) from raw_events").await, 200);
}

#[tokio::test]
async fn an_ordinary_session_finds_raw_events_without_its_schema() {
    let database = Database::empty().await;
    let mut owner = database.owner().await;
    // Reading the pending work writes nothing.
    assert_eq!(pending(&mut owner).await.unwrap().len(), MIGRATIONS.len());
    assert_eq!(number(&owner, "select count(*) from pg_namespace where nspname = 'pipeline'").await, 0);
    migrate(&mut database.owner().await, |_, _| {}).await.unwrap();
    let session = client(&database.url()).await;
    let path: String = session.query_one("show search_path", &[]).await.unwrap().get(0);
    assert_eq!(path, "\"$user\", public, staging, facts");
    assert_eq!(number(&session, "select count(*) from raw_events").await, 0);
}

#[tokio::test]
async fn a_search_path_set_for_all_roles_is_extended() {
    let (server, _directory) = start_server(|options| {
        options.settings.push("search_path=app,public".to_owned());
    });
    let url = server.url("postgres");
    migrate(&mut client(&url).await, |_, _| {}).await.unwrap();
    let path: String = client(&url).await.query_one("show search_path", &[]).await.unwrap().get(0);
    assert_eq!(path, "app, public, staging, facts");
}
