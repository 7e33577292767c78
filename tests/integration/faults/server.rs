//! The database server: killed backends, a full disk, and clients that stop while they hold locks.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use millrace::batch::{Batch, BatchBounds, BatchBuilder};
use millrace::clock::ReceivedAt;
use millrace::database::failure::postgres_error;
use millrace::database::{Connection, Settings};
use millrace::ledger::{LedgerEntry, Staged, stage};
use millrace::{Code, Kind};
use millrace_cli::stack::postgres::Server;
use millrace_tests::postgres::{ROLE_PASSWORD, client, number, prepare, start_server};
use millrace_tests::process::signal;
use millrace_tests::proxy::{Direction, Proxy};

use crate::stack::{LONG, Stack, accepted};

fn batch(rows: usize) -> Batch {
    let mut builder = BatchBuilder::new("shop", "orders", ReceivedAt::now(), BatchBounds::default());
    for row in 0..rows {
        builder.push(format!(r#"{{"row":{row},"text":"{}"}}"#, "x".repeat(1_000)).as_bytes());
    }
    builder.finish()
}

fn entry(origin: impl ToString) -> LedgerEntry<'static> {
    LedgerEntry { origin: origin.to_string(), rejected_count: 0, repairs: &[], load_id: None, span: None }
}

fn ingest(server: &Server, database: &str) -> Connection {
    let url = server.url_for("millrace_ingest", ROLE_PASSWORD, database);
    Connection::new(Settings::parse(&url).expect("a connection string"))
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_backends_cause_a_recovery_and_lose_no_acknowledged_batch() {
    // Acknowledged data is on disk: a recovering server loses what a commit with `synchronous_commit = off` had not yet
    // written.
    let (server, directory) = start_server(|options| options.fast = false);
    prepare(&server.url("postgres")).await;
    let batches = 40;
    let workers = (0..2).map(|worker| {
        let server = &server;
        async move {
            let mut connection = ingest(server, "postgres");
            for number in 0..batches {
                let mut killed = false;
                let batch = batch(50);
                let entry = entry(format!("{worker}/{number}"));
                let staged = stage(&mut connection, &batch, &entry, Instant::now() + LONG, async |_| {
                    if worker == 0 && number % 20 == 10 && !killed {
                        killed = true;
                        kill_a_backend(server);
                    }
                    Ok(())
                });
                let staged = staged.await.expect("stage");
                assert_eq!(staged, Staged::Committed { staged_count: 50, rejected_count: 0 });
            }
        }
    });
    join_all(workers).await;
    let owner = client(&server.url("postgres")).await;
    assert_eq!(number(&owner, "select count(*) from raw_events").await, 2 * batches * 50);
    assert_eq!(number(&owner, "select count(*) from staging.batches").await, 2 * batches);
    let log = std::fs::read_to_string(directory.path().join("postgres/postgres.log")).expect("the log");
    assert_eq!(log.matches("was terminated by signal 9").count(), 2, "{log}");
}

/// Kills, with SIGKILL, a session of the ingest role.
fn kill_a_backend(server: &Server) {
    let children = format!("/proc/{0}/task/{0}/children", server.pid());
    let children = std::fs::read_to_string(children).expect("the server's children");
    let victim = children.split_whitespace().find(|pid| {
        let title = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&title).contains("millrace_ingest")
    });
    signal(victim.expect("a session").parse().expect("its process"), "KILL");
}

/// A small file system in memory, mounted while this value lives. Tests run as root.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf, megabytes: u32) -> SmallDisk {
        std::fs::create_dir(&path).expect("a folder to mount on");
        run("mount", &["-t", "tmpfs", "-o", &format!("size={megabytes}m,mode=0777"), "tmpfs"], &path);
        SmallDisk(path)
    }

    fn grow(&self, megabytes: u32) {
        run("mount", &["-o", &format!("remount,size={megabytes}m")], &self.0);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A lazy unmount, because the server may still have files open.
        run("umount", &["--lazy"], &self.0);
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) {
    let status = Command::new(program).args(arguments).arg(path).status().expect(program);
    assert!(status.success(), "{program} {arguments:?} {}: this test needs root", path.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_full_disk_a_batch_is_stored_only_after_space_is_free() {
    // A tablespace on its own tmpfs fills up like a disk: a real ENOSPC, which the server reports as 53100.
    let (server, directory) = start_server(|_| {});
    let disk = SmallDisk::mount(directory.path().join("small"), 24);
    let admin = client(&server.url("postgres")).await;
    let space = disk.0.join("tablespace");
    std::fs::create_dir(&space).expect("the tablespace's folder");
    let data = std::fs::metadata(directory.path().join("postgres/data")).expect("the data");
    chown(&space, Some(data.uid()), Some(data.gid())).expect("hand it to the server");
    for statement in [
        &format!("create tablespace small location '{}'", space.display()),
        "create database small tablespace small",
    ] {
        admin.batch_execute(statement).await.expect(statement);
    }
    prepare(&server.url("small")).await;
    let owner = client(&server.url("small")).await;
    let mut connection = ingest(&server, "small");
    let mut acknowledged = 0;
    let error = loop {
        let deadline = Instant::now() + Duration::from_secs(3);
        let batch = batch(1_000);
        match stage(&mut connection, &batch, &entry(acknowledged), deadline, async |_| Ok(())).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 1_000, "the disk does not fill up");
    };
    assert_eq!(
        (error.kind(), error.code()),
        (Kind::Transient, Code::DatabaseUnavailable),
        "{}",
        error.chain()
    );
    assert_eq!(postgres_error(&error).map(|refusal| refusal.sqlstate.as_str()), Some("53100"));
    let holds = async |batches: i64| {
        assert_eq!(number(&owner, "select count(*) from raw_events").await, batches * 1_000);
        assert_eq!(number(&owner, "select count(*) from staging.batches").await, batches);
    };
    holds(acknowledged).await;
    // Space is freed while the same batch is retried.
    let batch = batch(1_000);
    let entry = entry(acknowledged);
    let (staged, ()) = futures_util::join!(
        stage(&mut connection, &batch, &entry, Instant::now() + LONG, async |_| Ok(())),
        async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            disk.grow(64);
        }
    );
    assert_eq!(staged.expect("stage"), Staged::Committed { staged_count: 1_000, rejected_count: 0 });
    holds(acknowledged + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_locks_of_a_stopped_function_pass_to_another() {
    let stack = Stack::new().await;
    stack
        .owner
        .batch_execute(&format!(
            "alter role millrace_ingest in database {} set idle_in_transaction_session_timeout = '3s'",
            stack.database.name()
        ))
        .await
        .expect("a short timeout");
    // A queue that does not respond stops the function between its COPY and its COMMIT.
    let queue = Proxy::start(stack.aws.port()).await;
    queue.stop(&[Direction::ToClient]);
    let address = format!("http://127.0.0.1:{}", queue.port());
    let stopped = stack.function(&[("AWS_ENDPOINT_URL_SQS", &address)]).await;
    let event = stack.aws.put("incoming/shop/orders/a.csv", "a,b\n1,2\n3\n4,5\n").await;
    let other = async {
        let inside = "select count(*) from pg_stat_activity
             where datname = current_database() and usename = 'millrace_ingest' and state = 'idle in transaction'";
        while number(&stack.owner, inside).await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stopped.signal("STOP");
        let other = stack.function(&[]).await;
        // SQS delivers the message again while an attempt fails.
        while other.invoke(&event, LONG).await.response() != accepted() {}
        assert_eq!(stack.rows().await, 2);
        // The function resumes after the other one has finished.
        queue.pass();
        stopped.signal("CONT");
    };
    let (answer, ()) =
        tokio::time::timeout(LONG, async { futures_util::join!(stopped.invoke(&event, LONG), other) })
            .await
            .expect("the locks are freed");
    assert_eq!(answer.response(), accepted());
    assert_eq!(stack.rows().await, 2);
    let differing =
        "select count(*) from staging.batches where (read_count, staged_count, rejected_count) <> (3, 2, 1)";
    assert_eq!(number(&stack.owner, differing).await, 0);
    assert_eq!(number(&stack.owner, "select count(*) from staging.batches").await, 1);
}
