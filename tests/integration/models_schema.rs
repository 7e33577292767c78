//! The tables of models in the database: who may write them, how batches are claimed, and their comments.

use std::collections::BTreeSet;

use millrace_tests::postgres::{Database, number};
use tokio_postgres::Client;

const TABLES: [&str; 6] =
    ["models", "model_versions", "runs", "invalidations", "backfills", "backfill_batches"];
const CLAIM: &str = "select * from staging.claim_batches('s', 'e', '-infinity', 1, 1)";
/// One row of each table, because a missing privilege does not show on an empty table.
const ROWS: &str = "
    insert into pipeline.models (model, kind, fingerprint, definition_hash, query) values ('m', 'fact', 'f', 'd', 'q');
    insert into pipeline.model_versions (fingerprint, models) values ('f', '{\"m\": \"f\"}');
    insert into pipeline.runs (run_id, model, activity, outcome) values (gen_random_uuid(), 'm', 'transform', 'ok');
    insert into pipeline.invalidations (model, bucket) values ('m', '1');
    insert into pipeline.backfills (backfill_id, model, fingerprint, target)
        values ('00000000-0000-7000-8000-000000000001', 'm', 'f', 'in_place');
    insert into pipeline.backfill_batches (backfill_id, batch_id, received_at, staged_count)
        values ('00000000-0000-7000-8000-000000000001', gen_random_uuid(), now(), 1)";

async fn refused(client: &Client, sql: &str) {
    let error = client.batch_execute(sql).await.expect_err(sql);
    assert_eq!(error.code().expect("a SQLSTATE").code(), "42501", "{sql}");
}

/// Batches o1 to o`count` of s/e, a second apart, each of 100 rows and 1,000 bytes.
async fn stage(owner: &Client, count: i32) {
    owner
        .execute(
            "insert into staging.batches (batch_id, origin, source, event_type, received_at,
                                          read_count, staged_count, payload_bytes)
             select gen_random_uuid(), 'o' || n, 's', 'e', timestamptz '2026-01-01 00:00:00+00' + n * interval '1 second',
                    100, 100, 1000
             from generate_series(1, $1) as n",
            &[&count],
        )
        .await
        .expect("stage batches");
}

/// The origins of the batches that are claimed from s/e.
async fn claim(client: &Client, since: &str, rows: i64, bytes: i64) -> Vec<String> {
    let sql = format!("select origin from staging.claim_batches('s', 'e', '{since}', {rows}, {bytes})");
    client.query(&sql, &[]).await.expect("claim").iter().map(|row| row.get(0)).collect()
}

fn origins(numbers: impl IntoIterator<Item = i32>) -> Vec<String> {
    numbers.into_iter().map(|n| format!("o{n}")).collect()
}

#[tokio::test]
async fn the_transform_role_writes_only_the_model_tables() {
    let database = Database::new().await;
    stage(&database.owner().await, 1).await;
    let transform = database.role("millrace_transform").await;
    transform.batch_execute(ROWS).await.expect("write down");
    for table in TABLES {
        assert_eq!(number(&transform, &format!("select count(*) from pipeline.{table}")).await, 1, "{table}");
    }
    for sql in [
        CLAIM,
        "select * from staging.batch",
        "update staging.batches set processed_by = 1, retracted_at = now()",
        "update pipeline.models set kind = 'view'",
        "update pipeline.model_versions set models = '{}'",
        "update pipeline.runs set outcome = 'failed'",
        "update pipeline.invalidations set bucket = null",
        "update pipeline.backfill_batches set done_at = now()",
        "update pipeline.backfills set finished_at = now()",
        "create table pipeline.x (id int); drop table pipeline.x",
    ] {
        transform.batch_execute(sql).await.expect(sql);
    }
    for table in TABLES.iter().rev() {
        transform.batch_execute(&format!("delete from pipeline.{table}")).await.expect(table);
        refused(&transform, &format!("truncate pipeline.{table}")).await;
        refused(&transform, &format!("drop table pipeline.{table}")).await;
    }
    for sql in [
        "select * from pipeline.migrations",
        "update staging.batches set payload_bytes = 0",
        "insert into staging.batch (source, event_type, payload) values ('a', 'b', '{}')",
    ] {
        refused(&transform, sql).await;
    }
}

#[tokio::test]
async fn no_other_role_writes_the_model_tables() {
    let database = Database::new().await;
    let owner = database.owner().await;
    owner.batch_execute(ROWS).await.expect("write down");
    let maintain = database.role("millrace_maintain").await;
    maintain.batch_execute("select * from staging.batch").await.expect("read events");
    for table in TABLES {
        assert_eq!(number(&maintain, &format!("select count(*) from pipeline.{table}")).await, 1, "{table}");
    }
    for role in ["millrace_maintain", "millrace_ingest", "millrace_reader"] {
        let client = database.role(role).await;
        for table in TABLES {
            if role != "millrace_maintain" {
                refused(&client, &format!("select * from pipeline.{table}")).await;
            }
            refused(&client, &format!("insert into pipeline.{table} default values")).await;
            refused(&client, &format!("delete from pipeline.{table}")).await;
            refused(&client, &format!("truncate pipeline.{table}")).await;
        }
        for sql in [
            CLAIM,
            "update pipeline.runs set detail = ''",
            "update staging.batches set processed_by = 1",
            "update staging.batches set retracted_at = now()",
            "create table pipeline.mine (id int)",
        ] {
            refused(&client, sql).await;
        }
        if role != "millrace_maintain" {
            refused(&client, "select * from staging.batch").await;
        }
    }
    // An ingest function records the bytes of a batch. It must not record who transformed it.
    let ingest = database.role("millrace_ingest").await;
    let staged = |column: &str, value: &str| {
        format!(
            "insert into staging.batches (batch_id, origin, source, event_type, received_at, read_count, staged_count, {column})
             values (gen_random_uuid(), '{column}', 's', 'e', now(), 0, 0, {value})"
        )
    };
    ingest.batch_execute(&staged("payload_bytes", "7")).await.expect("say how many bytes");
    refused(&ingest, &staged("processed_by", "1")).await;
    refused(&ingest, &staged("retracted_at", "now()")).await;
}

#[tokio::test]
async fn a_claim_takes_the_oldest_and_ends_once_rows_or_bytes_suffice() {
    let database = Database::new().await;
    let owner = database.owner().await;
    stage(&owner, 10).await;
    owner
        .batch_execute(
            "update staging.batches set processed_at = now(), transformed_count = staged_count where origin = 'o2';
             update staging.batches set source = 'other' where origin = 'o4';
             update staging.batches set event_type = 'other' where origin = 'o6'",
        )
        .await
        .expect("others between them");
    let transform = database.role("millrace_transform").await;
    let many = 1_000_000;
    for (since, rows, bytes, expected) in [
        ("-infinity", many, many, origins([1, 3, 5, 7, 8, 9, 10])),
        ("-infinity", 201, many, origins([1, 3, 5])),
        ("-infinity", 200, many, origins([1, 3])),
        ("-infinity", many, 1_001, origins([1, 3])),
        ("-infinity", many, 1_000, origins([1])),
        // At least one batch is claimed, however large, because otherwise it would never be transformed.
        ("-infinity", 1, 1, origins([1])),
        ("2026-01-01 00:00:07+00", 200, many, origins([7, 8])),
        ("2026-01-01 00:00:07.5+00", 200, many, origins([8, 9])),
        ("infinity", many, many, origins([])),
    ] {
        assert_eq!(claim(&transform, since, rows, bytes).await, expected, "{since} {rows} {bytes}");
    }
    assert_eq!(
        number(&transform, "select count(*) from staging.claim_batches('nobody', 'e', '-infinity', 1, 1)")
            .await,
        0
    );
}

#[tokio::test]
async fn a_claim_locks_what_it_returns_and_no_more() {
    let database = Database::new().await;
    let owner = database.owner().await;
    stage(&owner, 10).await;
    let (first, second) =
        (database.role("millrace_transform").await, database.role("millrace_transform").await);
    first.batch_execute("begin").await.expect("begin");
    assert_eq!(claim(&first, "-infinity", 300, 1_000_000).await, origins([1, 2, 3]));
    let free: Vec<String> = owner
        .query("select origin from staging.batches order by received_at for update skip locked", &[])
        .await
        .expect("look for locks")
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(free, origins(4..=10));

    second.batch_execute("begin").await.expect("begin");
    assert_eq!(claim(&second, "-infinity", 1_000_000, 1_000_000).await, origins(4..=10));
    assert_eq!(claim(&owner, "-infinity", 1, 1).await, origins([]), "all are held");
    first.batch_execute("rollback").await.expect("give up");
    assert_eq!(claim(&owner, "-infinity", 1, 1).await, origins([1]), "what was given up is there again");
    second.batch_execute("rollback").await.expect("give up");
}

#[tokio::test]
async fn concurrent_workers_claim_every_batch_once() {
    let database = Database::new().await;
    let owner = database.owner().await;
    stage(&owner, 120).await;
    let workers = (0..4).map(|_| async {
        let mut client = database.role("millrace_transform").await;
        let mut taken = Vec::new();
        loop {
            let transaction = client.transaction().await.expect("begin");
            let rows = transaction
                .query("select origin from staging.claim_batches('s', 'e', '-infinity', 250, 1000000)", &[])
                .await
                .expect("claim");
            if rows.is_empty() {
                return taken;
            }
            let origins: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            assert!(origins.len() <= 3, "{origins:?}");
            transaction
                .execute(
                    "update staging.batches set processed_at = now(), transformed_count = staged_count
                     where origin = any($1)",
                    &[&origins],
                )
                .await
                .expect("mark");
            transaction.commit().await.expect("commit");
            taken.extend(origins);
        }
    });
    let taken: Vec<String> = futures_util::future::join_all(workers).await.concat();
    assert_eq!(taken.len(), 120, "none twice");
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), origins(1..=120).into_iter().collect());
}

#[tokio::test]
async fn every_object_has_a_comment_unless_its_name_suffices() {
    let database = Database::new().await;
    let owner = database.owner().await;
    let silent: BTreeSet<String> = owner
        .query(
            "select relname || coalesce('.' || attname, '')
             from pg_class
             left join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
             where relnamespace = 'pipeline'::regnamespace and relkind = 'r' and relname <> 'migrations'
                 and (
                     col_description(pg_class.oid, attnum) is null
                     or obj_description(pg_class.oid, 'pg_class') is null
                 )
             union all
             select 'batches.' || attname
             from pg_attribute
             where attrelid = 'staging.batches'::regclass
                 and attname in ('payload_bytes', 'processed_by', 'retracted_at')
                 and col_description(attrelid, attnum) is null
             union all
             select relname from pg_class where oid = 'staging.batch'::regclass and obj_description(oid, 'pg_class') is null
             union all
             select proname from pg_proc where proname = 'claim_batches' and obj_description(oid, 'pg_proc') is null",
            &[],
        )
        .await
        .expect("read the comments")
        .iter()
        .map(|row| row.get(0))
        .collect();
    let self_evident = [
        "backfill_batches.backfill_id",
        "backfill_batches.batch_id",
        "backfills.backfill_id",
        "backfills.model",
        "backfills.started_at",
        "models.deployed_at",
        "models.kind",
        "model_versions.first_seen_at",
        "model_versions.version_id",
        "runs.finished_at",
        "runs.model",
        "runs.started_at",
    ];
    assert_eq!(silent, self_evident.map(str::to_owned).into());
    let schema: String = owner
        .query_one("select obj_description('pipeline'::regnamespace, 'pg_namespace')", &[])
        .await
        .expect("read the comment")
        .get(0);
    assert!(schema.contains("deployed models"), "{schema}");
}
