//! Roles with excess or missing privileges. The action of every finding fixes it.

use super::fixture::{DoctorFixture, Found};

/// Runs the action of each finding.
async fn fix(fixture: &DoctorFixture, found: &[Found]) {
    for finding in found {
        let quoted = finding.action.strip_prefix("psql \"$DATABASE_URL\" -c '").expect("a statement");
        let (statement, _) = quoted.rsplit_once('\'').expect("a statement");
        fixture.run(&statement.replace(r"'\''", "'")).await;
    }
}

#[tokio::test]
async fn excess_and_missing_privileges_are_reported_and_fixed_by_the_action() {
    let fixture = DoctorFixture::new().await;
    fixture.transform().await;
    fixture.refresh().await;
    DoctorFixture::is_healthy(fixture.doctor(&[]).await);
    let defects = [
        ("alter role millrace_ingest createdb", "roles", "the role millrace_ingest is createdb"),
        ("alter role millrace_transform superuser replication", "roles", "is superuser, replication"),
        (
            "grant pg_read_all_data to millrace_reader",
            "roles",
            "millrace_reader is a member of pg_read_all_data",
        ),
        ("alter role millrace_ingest reset statement_timeout", "roles", "has no statement_timeout"),
        ("alter role millrace_maintain set search_path = public", "roles", "has the search_path public"),
        ("alter role millrace_reader reset idle_in_transaction_session_timeout", "roles", "has no idle_in"),
        (
            "grant select on staging.raw_events to millrace_reader",
            "privileges",
            "has SELECT on the table staging.raw_events",
        ),
        ("grant truncate on staging.events to millrace_maintain", "privileges", "has TRUNCATE"),
        (
            "grant update (staged_count, read_count) on staging.batches to millrace_transform",
            "privileges",
            "has UPDATE (read_count, staged_count) on the table staging.batches",
        ),
        (
            "grant select on pipeline.runs to public",
            "privileges",
            "public has SELECT on the table pipeline.runs",
        ),
        (
            "grant create on schema staging to millrace_transform",
            "privileges",
            "has CREATE on the schema staging",
        ),
        ("grant execute on function staging.ensure_partition to public", "privileges", "public has EXECUTE"),
        (
            "alter table staging.repairs owner to millrace_ingest",
            "privileges",
            "owns the table staging.repairs",
        ),
        (
            "revoke insert on staging.events from millrace_ingest",
            "privileges",
            "does not have INSERT on the table staging.events",
        ),
        (
            "revoke insert (payload_bytes) on staging.batches from millrace_ingest",
            "privileges",
            "does not have INSERT (payload_bytes)",
        ),
    ];
    for (defect, _, _) in defects {
        fixture.run(defect).await;
    }
    let (code, found) = fixture.doctor(&["--quick"]).await;
    assert_eq!(code, Some(1));
    for (defect, check, words) in defects {
        let named = found.iter().any(|found| found.check == check && found.found.contains(words));
        assert!(named, "{defect}: {found:#?}");
    }
    assert!(found.len() >= defects.len(), "{found:#?}");
    fix(&fixture, &found).await;
    // A role that loses ownership also loses the grants on the object. These are reported next.
    let (_, left) = fixture.doctor(&["--quick"]).await;
    assert_eq!(left.len(), 1, "{left:#?}");
    fix(&fixture, &left).await;
    DoctorFixture::is_healthy(fixture.doctor(&["--quick"]).await);

    // Objects of models, and the privileges of their readers, are not reported.
    fixture
        .run(
            "set role millrace_transform;
         create table facts.mine (id int);
         create function pipeline.invalidate_mine() returns trigger language plpgsql as 'begin return null; end';
         revoke execute on function pipeline.invalidate_mine() from public;
         reset role;
         create role analyst;
         grant select on facts.mine to analyst, millrace_maintain;
         grant usage on schema facts to analyst",
        )
        .await;
    let (_, found) = fixture.doctor(&["--quick"]).await;
    assert_eq!(found.len(), 1, "maintain reads no facts: {found:#?}");
    assert!(found[0].found.contains("millrace_maintain has SELECT on the table facts.mine"), "{found:#?}");
}
