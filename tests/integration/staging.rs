//! Stages a batch exactly once under faults of the database.

use std::time::{Duration, Instant};

use millrace::batch::{Batch, BatchBounds, BatchBuilder};
use millrace::clock::ReceivedAt;
use millrace::ledger::{LedgerEntry, Staged, stage};
use millrace::{Code, Error, Kind};
use millrace_tests::postgres::{Database, number};

fn batch(payloads: &[&str]) -> Batch {
    let mut builder = BatchBuilder::new("shop", "orders", ReceivedAt::now(), BatchBounds::default());
    for payload in payloads {
        builder.push(payload.as_bytes());
    }
    builder.finish()
}

fn entry(origin: &str) -> LedgerEntry<'static> {
    LedgerEntry { origin: origin.to_owned(), rejected_count: 0, repairs: &[], load_id: None, span: None }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

#[tokio::test]
async fn a_batch_is_staged_once_however_often_it_is_offered() {
    let database = Database::new().await;
    let offers = (0..16).map(|_| async {
        let batch = batch(&[r#"{"n":1}"#, r#"{"n":2}"#]);
        stage(&mut database.ingest(), &batch, &entry("o"), soon(), async |_| Ok(())).await.expect("stage")
    });
    let staged = futures_util::future::join_all(offers).await;
    let committed =
        staged.iter().filter(|staged| matches!(staged, Staged::Committed { staged_count: 2, .. })).count();
    assert_eq!(committed, 1);
    let owner = database.owner().await;
    assert_eq!(number(&owner, "select count(*) from raw_events").await, 2);
    assert_eq!(number(&owner, "select sum((payload->>'n')::bigint)::bigint from raw_events").await, 3);
    assert_eq!(number(&owner, "select payload_bytes from staging.batches").await, 14);
}

#[tokio::test]
async fn rows_that_postgres_refuses_are_found_and_the_rest_is_staged() {
    let database = Database::new().await;
    // Everything that COPY refuses as jsonb, between rows that it accepts.
    let deep = "[".repeat(200_000);
    let poison = [
        r#"{"a":"\u0000"}"#,
        "{",
        "NaN",
        r#""\ud800""#,
        "1e131072",
        "\u{feff}{}",
        deep.as_str(),
        r#"{"a":1}}"#,
    ];
    let mut payloads = Vec::new();
    for bad in poison {
        payloads.extend([r#"{"good":1}"#; 5]);
        payloads.push(bad);
    }
    let batch = batch(&payloads);
    let mut seen = Vec::new();
    let staged = stage(&mut database.ingest(), &batch, &entry("o"), soon(), async |refused| {
        seen = refused.to_vec();
        Ok(())
    })
    .await
    .expect("stage");
    assert_eq!(staged, Staged::Committed { staged_count: 40, rejected_count: 8 });
    assert_eq!(seen.iter().map(|row| row.row).collect::<Vec<_>>(), [5, 11, 17, 23, 29, 35, 41, 47]);
    for row in &seen {
        assert!(!row.refusal.message.contains("ud800"), "{}", row.refusal);
    }
    let owner = database.owner().await;
    assert_eq!(number(&owner, "select count(*) from raw_events").await, 40);
    let bytes = "select payload_bytes from staging.batches";
    assert_eq!(number(&owner, bytes).await, 40 * 10, "those of the rows that were staged");
}

/// Whatever a user adds to the staging table may refuse a row, with any SQLSTATE.
#[tokio::test]
async fn a_row_refused_by_a_rule_of_the_user_is_found_whatever_its_sqlstate() {
    let rules = [
        ("alter table staging.events add constraint c check (not payload ? 'bad')", "23514"),
        (
            "create domain public.good as jsonb constraint d check (not value ? 'bad');
            create function f() returns trigger language plpgsql as
            'declare checked public.good; begin checked := new.payload; return new; end';
            create trigger t before insert on staging.events for each row execute function f()",
            "23514",
        ),
        (
            "create function f() returns trigger language plpgsql as
            $$begin if new.payload ? 'bad' then raise 'bad' using errcode = 'check_violation'; end if; return new; end$$;
            create trigger t before insert on staging.events for each row execute function f()",
            "23514",
        ),
        (
            "create function f() returns trigger language plpgsql as
            $$begin if new.payload ? 'bad' then raise 'bad'; end if; return new; end$$;
            create trigger t before insert on staging.events for each row execute function f()",
            "P0001",
        ),
        (
            "create function f() returns trigger language plpgsql as
            $$begin assert not new.payload ? 'bad'; return new; end$$;
            create constraint trigger t after insert on staging.events deferrable initially deferred
            for each row execute function f()",
            "P0004",
        ),
        ("create unique index on staging.events (received_at, (payload->>'n'))", "23505"),
    ];
    for (rule, sqlstate) in rules {
        let database = Database::new().await;
        let owner = database.owner().await;
        owner.batch_execute(rule).await.expect(rule);
        // The first batch of a day meets the missing partition and the rule.
        let drop = format!("drop table staging.events_{}", today(&owner).await);
        owner.batch_execute(&drop).await.expect("drop today");
        let payloads = [r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":2,"bad":1}"#, r#"{"n":3}"#];
        let mut seen = Vec::new();
        let staged = stage(&mut database.ingest(), &batch(&payloads), &entry("o"), soon(), async |refused| {
            seen = refused.to_vec();
            Ok(())
        })
        .await
        .expect(rule);
        assert_eq!(staged, Staged::Committed { staged_count: 3, rejected_count: 1 }, "{rule}");
        let seen: Vec<_> = seen.iter().map(|row| (row.row, row.refusal.sqlstate.as_str())).collect();
        assert_eq!(seen, [(2, sqlstate)], "{rule}");
        assert_eq!(number(&owner, "select count(*) from raw_events").await, 3, "{rule}");
    }
}

#[tokio::test]
async fn nothing_is_staged_when_the_dead_letters_cannot_be_sent() {
    let database = Database::new().await;
    let error = stage(
        &mut database.ingest(),
        &batch(&["{}"]),
        &entry("o"),
        Instant::now() + Duration::from_millis(300),
        async |_| Err(Error::new(Kind::Transient, "the queue is down")),
    )
    .await
    .unwrap_err();
    assert_eq!(error.kind(), Kind::Transient);
    let owner = database.owner().await;
    assert_eq!(number(&owner, "select count(*) from staging.events").await, 0);
    assert_eq!(number(&owner, "select count(*) from staging.batches").await, 0);
}

#[tokio::test]
async fn a_terminated_backend_is_replaced_and_the_batch_lands_once() {
    let database = Database::new().await;
    let owner = database.owner().await;
    let mut kills = 3;
    let staged = stage(&mut database.ingest(), &batch(&["{}"; 100]), &entry("o"), soon(), async |_| {
        // The session is terminated after the rows are copied and before the commit, three times.
        if kills > 0 {
            kills -= 1;
            owner
                .query("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'millrace_ingest' and datname = current_database()", &[])
                .await
                .expect("terminate");
        }
        Ok(())
    })
    .await
    .expect("stage");
    assert_eq!(staged, Staged::Committed { staged_count: 100, rejected_count: 0 });
    assert_eq!(number(&owner, "select count(*) from raw_events").await, 100);
}

#[tokio::test]
async fn a_day_without_a_partition_gets_one() {
    let database = Database::new().await;
    let owner = database.owner().await;
    owner
        .batch_execute(&format!("drop table staging.events_{}", today(&owner).await))
        .await
        .expect("drop today");
    let staged = stage(&mut database.ingest(), &batch(&["{}"]), &entry("o"), soon(), async |_| Ok(()))
        .await
        .expect("stage");
    assert_eq!(staged, Staged::Committed { staged_count: 1, rejected_count: 0 });
    assert_eq!(number(&owner, "select count(*) from raw_events").await, 1);
}

async fn today(client: &tokio_postgres::Client) -> String {
    client.query_one("select to_char(now() at time zone 'UTC', 'YYYYMMDD')", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_read_only_database_acknowledges_nothing() {
    let database = Database::new().await;
    let owner = database.owner().await;
    owner
        .batch_execute(&format!("alter database {} set default_transaction_read_only = on", database.name()))
        .await
        .unwrap();
    let deadline = Instant::now() + Duration::from_millis(500);
    let error = stage(&mut database.ingest(), &batch(&["{}"]), &entry("o"), deadline, async |_| Ok(()))
        .await
        .unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Transient, Code::DatabaseReadOnly));
    // It becomes writable during the retries, so the same call succeeds.
    let name = database.name().to_owned();
    let recover = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        owner
            .batch_execute(&format!("set default_transaction_read_only = off; alter database {name} reset default_transaction_read_only"))
            .await
            .unwrap();
    };
    let mut connection = database.ingest();
    let batch = batch(&["{}"]);
    let entry = entry("o");
    let (staged, ()) =
        futures_util::join!(stage(&mut connection, &batch, &entry, soon(), async |_| Ok(())), recover);
    assert_eq!(staged.unwrap(), Staged::Committed { staged_count: 1, rejected_count: 0 });
}
