//! Makes one defect after another in a healthy stack. Each is reported, and nothing else is.

use aws_sdk_s3::types::{BucketVersioningStatus, NotificationConfiguration, VersioningConfiguration};
use aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};

use millrace_tests::terminal::{assert_fits, unwrapped};

use super::fixture::{DoctorFixture, Found};

/// The only finding has this level, this check and these words. Returns its action.
#[track_caller]
fn only(doctor: (Option<i32>, Vec<Found>), level: &str, check: &str, words: &[&str]) -> String {
    let (code, found) = doctor;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].level.as_str(), found[0].check.as_str()), (level, check), "{found:#?}");
    for word in words {
        assert!(found[0].found.contains(word), "`{word}` is not in {found:#?}");
    }
    assert!(!found[0].action.is_empty(), "{found:#?}");
    assert_eq!(code, Some(i32::from(level == "problem")));
    found[0].action.clone()
}

/// The SQL statement of an action that runs psql.
#[track_caller]
fn statement(action: &str) -> String {
    let quoted = action.strip_prefix("psql \"$DATABASE_URL\" -c '").expect(action);
    let (statement, _) = quoted.rsplit_once('\'').expect(action);
    statement.replace(r"'\''", "'")
}

#[tokio::test]
async fn the_demo_s_stack_is_healthy_and_every_defect_of_it_is_named() {
    let fixture = DoctorFixture::with_demo().await;
    DoctorFixture::is_healthy(fixture.doctor(&[]).await);
    let said = fixture.millrace(&["doctor", "--unloaded-for", "0s"]).await;
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert!(said.out.contains("healthy: ") && said.out.contains("2 files under incoming/"), "{}", said.out);
    assert_fits(&said.out, 80);
    let checks = said.out.lines().filter(|line| line.starts_with("  ok       ")).count();
    assert!(said.out.contains(&format!("healthy: {checks} checks, nothing found")), "{}", said.out);

    // A missing partition.
    let tomorrow = "(select 'staging.events_' || to_char((now() at time zone 'UTC')::date + 1, 'YYYYMMDD'))";
    fixture.run(&format!("do $$ begin execute 'drop table ' || {tomorrow}; end $$")).await;
    let action = only(fixture.doctor(&[]).await, "problem", "partitions", &["has no partition for 20"]);
    fixture.run(&statement(&action)).await;
    DoctorFixture::is_healthy(fixture.doctor(&[]).await);

    // A wrong visibility timeout.
    let uploads = fixture.aws.upload_queue_url.clone();
    fixture.set_queue(&uploads, QueueAttributeName::VisibilityTimeout, "900").await;
    let action =
        only(fixture.doctor(&[]).await, "problem", "upload-queue", &["timeout of the upload queue is 900 s"]);
    assert_eq!(
        action,
        format!("aws sqs set-queue-attributes --queue-url {uploads} --attributes VisibilityTimeout=1800")
    );
    fixture.set_queue(&uploads, QueueAttributeName::VisibilityTimeout, "1800").await;

    // An unprocessed batch that is too old.
    fixture.run(
        "select staging.ensure_partition((now() at time zone 'UTC')::date - 1);
         insert into raw_events (source, event_type, payload) values ('shop', 'late', '{}'), ('shop', 'late', '{}')",
    )
    .await;
    DoctorFixture::is_healthy(fixture.doctor(&[]).await);
    fixture.run(
        "update staging.events set received_at = received_at - interval '16 minutes' where event_type = 'late';
         update staging.batches set received_at = received_at - interval '16 minutes' where event_type = 'late'",
    )
    .await;
    let words = ["shop/late: 1 batch not processed, the oldest for 16 min"];
    let action = only(fixture.doctor(&[]).await, "problem", "unprocessed", &words);
    assert_eq!(action, "millrace models run");
    DoctorFixture::is_healthy(fixture.doctor(&["--unprocessed-for", "20m"]).await);
    fixture.transform().await;
    DoctorFixture::is_healthy(fixture.doctor(&[]).await);

    // A file that was never loaded.
    drop(
        fixture
            .aws
            .put("incoming/demo/airports/lost ü+1.csv", super::fixture::sample_file("airports.csv"))
            .await,
    );
    let words = ["1 file under incoming/", "incoming/demo/airports/lost ü+1.csv"];
    let action = only(fixture.doctor(&[]).await, "problem", "files", &words);
    assert!(action.starts_with("millrace doctor --load-missing"), "{action}");
    only(
        fixture.doctor(&["--load-missing"]).await,
        "warning",
        "files",
        &["their notifications were sent to the upload queue"],
    );
    let loader = fixture.function("ingest-csv").await;
    fixture.load_next(&loader).await;
    fixture.transform().await;
    fixture.refresh().await;
    DoctorFixture::is_healthy(fixture.doctor(&[]).await);
    assert_eq!(
        fixture.number("select count(*) from staging.loads where origin like '%lost ü+1.csv?%'").await,
        1
    );

    // A role with too many privileges.
    fixture.run("grant update, delete on staging.events to millrace_ingest").await;
    let (code, found) = fixture.doctor(&[]).await;
    assert_eq!(code, Some(1));
    let rights: Vec<&str> = found.iter().map(|found| found.found.as_str()).collect();
    assert_eq!(
        rights,
        [
            "millrace_ingest has DELETE on the table staging.events, which the migrations do not grant",
            "millrace_ingest has UPDATE on the table staging.events, which the migrations do not grant",
        ]
    );
    let said = fixture.millrace(&["doctor", "--unloaded-for", "0s"]).await;
    assert_fits(&said.out, 80);
    assert_eq!(said.out.lines().filter(|line| *line == "  problem  privileges").count(), 2, "{}", said.out);
    for finding in &found {
        let text = unwrapped(&said.out);
        assert!(text.contains(&finding.found), "{}", said.out);
        assert!(text.replace(" \\ ", " ").contains(&format!("→ {}", finding.action)), "{}", said.out);
        assert_eq!(finding.check, "privileges");
        fixture.run(&statement(&finding.action)).await;
    }
    DoctorFixture::is_healthy(fixture.doctor(&[]).await);

    // Counts that do not match, because a row is missing.
    fixture
        .run(
            "create table public.kept (like staging.events);
         with gone as (
             delete from staging.events where id = (select min(id) from staging.events) returning *
         )
         insert into public.kept select * from gone",
        )
        .await;
    let words = ["a batch's staged count = its rows in staging.events", "1 difference: "];
    let action = only(fixture.doctor(&[]).await, "problem", "counts", &words);
    assert_eq!(action, "millrace status");
    assert_eq!(fixture.millrace(&["status"]).await.code, Some(1), "status agrees");
    DoctorFixture::is_healthy(fixture.doctor(&["--quick"]).await);
    fixture.run("insert into staging.events select * from public.kept; drop table public.kept").await;

    // A full queue.
    full_queue(&fixture, &uploads, 1_001).await;
    let words = ["1,001 uploads waiting, more than 1,000"];
    only(fixture.doctor(&[]).await, "problem", "uploads-waiting", &words);
    fixture.aws.clients.sqs.purge_queue().queue_url(&uploads).send().await.unwrap();
    DoctorFixture::is_healthy(fixture.doctor(&[]).await);

    // A view that was invalidated and not refreshed.
    fixture.run("insert into pipeline.invalidations (model) values ('airport_weather')").await;
    DoctorFixture::is_healthy(fixture.doctor(&[]).await);
    fixture.run("update pipeline.invalidations set invalidated_at = now() - interval '2 hours'").await;
    let words = ["airport_weather: not refreshed since it was invalidated 2 h ago"];
    only(fixture.doctor(&[]).await, "problem", "stale", &words);
    fixture.refresh().await;
    DoctorFixture::is_healthy(fixture.doctor(&[]).await);

    // A secret that expires: in Secrets Manager, and the password of a role.
    let github = format!("{}/github", fixture.aws.bucket);
    fixture.secrets.delete_secret().secret_id(&github).recovery_window_in_days(7).send().await.unwrap();
    let words = ["source github: the secret secretsmanager:", "scheduled for deletion"];
    let action = only(fixture.doctor(&[]).await, "problem", "secrets", &words);
    assert_eq!(action, format!("aws secretsmanager restore-secret --secret-id {github}"));
    fixture.secrets.restore_secret().secret_id(&github).send().await.unwrap();
    fixture.run("alter role millrace_reader valid until '2026-01-01'").await;
    let action =
        only(fixture.doctor(&[]).await, "problem", "passwords", &["the password of millrace_reader expired"]);
    let (action, _) = action.split_once("  #").unwrap();
    fixture.run(&statement(action)).await;
    DoctorFixture::is_healthy(fixture.doctor(&[]).await);

    // Versions that differ: the migrations, and the models.
    let checksum = "update pipeline.migrations set checksum = reverse(checksum) where version = 3";
    fixture.run(checksum).await;
    let words = ["migration 0003_ledger was changed after it was applied"];
    only(fixture.doctor(&[]).await, "problem", "migrations", &words);
    fixture.run(checksum).await;
    let airports = fixture.pipeline.path().join("models/airports.sql");
    let text = std::fs::read_to_string(&airports).unwrap();
    std::fs::write(&airports, text.replace("0.3048", "0.30480")).unwrap();
    let action = only(fixture.doctor(&[]).await, "warning", "deployed-models", &["airports (changed)"]);
    assert_eq!(action, "millrace models plan");
    std::fs::write(&airports, text).unwrap();
    DoctorFixture::is_healthy(fixture.doctor(&[]).await);
}

async fn full_queue(fixture: &DoctorFixture, queue_url: &str, count: usize) {
    for first in (0..count).step_by(10) {
        let entries = (first..count.min(first + 10)).map(|n| {
            let entry = SendMessageBatchRequestEntry::builder().id(n.to_string()).message_body("{}");
            entry.build().unwrap()
        });
        let send = fixture.aws.clients.sqs.send_message_batch().queue_url(queue_url);
        let sent = send.set_entries(Some(entries.collect())).send().await.unwrap();
        assert!(sent.failed().is_empty());
    }
}

#[tokio::test]
async fn other_changed_settings_are_reported() {
    let fixture = DoctorFixture::new().await;
    fixture.transform().await;
    fixture.refresh().await;
    DoctorFixture::is_healthy(fixture.doctor(&[]).await);
    let (s3, bucket) = (&fixture.aws.clients.s3, &fixture.aws.bucket);

    let dead_letters = fixture.aws.dead_letter_queue_url.clone();
    fixture.set_queue(&dead_letters, QueueAttributeName::MessageRetentionPeriod, "345600").await;
    only(
        fixture.doctor(&[]).await,
        "problem",
        "dead-letter-queue",
        &["retention period of the dead-letter queue is 4 d"],
    );
    fixture.set_queue(&dead_letters, QueueAttributeName::MessageRetentionPeriod, "1209600").await;

    let before = s3.get_bucket_notification_configuration().bucket(bucket).send().await.unwrap();
    let put = async |configuration| {
        let put = s3.put_bucket_notification_configuration().bucket(bucket);
        put.notification_configuration(configuration).send().await.unwrap();
    };
    put(NotificationConfiguration::builder().build()).await;
    only(fixture.doctor(&[]).await, "problem", "notifications", &["no file will be loaded"]);
    let queues = before.queue_configurations.unwrap();
    put(NotificationConfiguration::builder().set_queue_configurations(Some(queues)).build()).await;

    fixture.aws.forget_versions().await;
    only(fixture.doctor(&[]).await, "problem", "versioning", &["versioning is not enabled"]);
    let versioning = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let put = s3.put_bucket_versioning().bucket(bucket).versioning_configuration(versioning);
    put.send().await.unwrap();

    // Secrets that are missing, empty or invalid.
    let sources = fixture.pipeline.path().join("sources.toml");
    let text = std::fs::read_to_string(&sources).unwrap();
    for (secret, words) in [
        ("env:MILLRACE_TEST_NOT_SET", "the variable is not set, or empty"),
        ("secretsmanager:millrace-test-not-there", "does not exist"),
    ] {
        let more = format!("\n[more.webhook]\npreset = \"bearer\"\nsecret = \"{secret}\"\n");
        std::fs::write(&sources, text.clone() + &more).unwrap();
        only(fixture.doctor(&[]).await, "problem", "secrets", &["source more: the secret", secret, words]);
    }
    std::fs::write(&sources, text.clone() + "\n[more.webhok]\n").unwrap();
    let (code, found) = fixture.doctor(&[]).await;
    assert_eq!(code, Some(1));
    assert_eq!((found[0].check.as_str(), found[0].level.as_str()), ("sources", "problem"), "{found:#?}");
    assert!(found[0].found.contains("did you mean `webhook`"), "{found:#?}");
    std::fs::write(&sources, &text).unwrap();

    // A failing model, a broken model file, and a backfill without progress.
    fixture.run(
        "insert into pipeline.runs (run_id, model, activity, outcome, detail, started_at)
         values (gen_random_uuid(), 'weather', 'transform', 'failed', 'a table is gone', now() + interval '1 second')",
    )
    .await;
    only(
        fixture.doctor(&[]).await,
        "problem",
        "model-runs",
        &["weather: the last transform failed", "a table is gone"],
    );
    fixture.run("delete from pipeline.runs where outcome = 'failed'").await;
    let lost = fixture.pipeline.path().join("models/lost.sql");
    std::fs::write(&lost, "-- kind = \"view\"\nselect * from nothing").unwrap();
    let action = only(fixture.doctor(&[]).await, "problem", "models", &["models/lost.sql:2:15"]);
    assert_eq!(action, "millrace models check");
    std::fs::remove_file(&lost).unwrap();
    let backfill = "insert into pipeline.backfills (backfill_id, model, fingerprint, target, started_at)
                    values (gen_random_uuid(), 'weather', 'f', 'in_place', now() - interval '3 hours')";
    fixture.run(backfill).await;
    let action =
        only(fixture.doctor(&[]).await, "warning", "backfills", &["weather: a backfill has 0 batches left"]);
    assert_eq!(action, "millrace models backfill weather");
    fixture.run("update pipeline.backfills set finished_at = now()").await;
    DoctorFixture::is_healthy(fixture.doctor(&[]).await);
}
