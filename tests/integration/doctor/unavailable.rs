//! An unavailable part is reported, and the other parts are checked all the same.

use millrace_tests::postgres::Database;

use super::fixture::{DoctorFixture, Found, findings, millrace};

fn named(found: &[Found]) -> Vec<(&str, &str)> {
    found.iter().map(|found| (found.level.as_str(), found.check.as_str())).collect()
}

#[tokio::test]
async fn an_unavailable_part_does_not_hide_the_others() {
    let fixture = DoctorFixture::new().await;
    fixture.transform().await;
    fixture.refresh().await;
    let with = async |name: &str, value: &str| {
        let mut variables = fixture.variables();
        variables.retain(|(known, _)| known != name);
        variables.push((name.to_owned(), value.to_owned()));
        let said = millrace(&["doctor", "--json", "--unloaded-for", "0s"], variables).await;
        (said.code, findings(&said))
    };

    // The maintenance role can read everything, so that doctor works without the owner's connection.
    let maintain = with("DATABASE_URL", &fixture.url_for("millrace_maintain")).await;
    DoctorFixture::is_healthy(maintain);

    // The database is unavailable: no check fails, and the report is incomplete.
    let (code, found) = with("DATABASE_URL", "postgresql://a:canary@127.0.0.1:1/x").await;
    assert_eq!((code, named(&found)), (Some(2), vec![("unknown", "database")]));
    assert!(!format!("{found:?}").contains("canary"), "{found:?}");

    // AWS is unavailable, and a problem in the database is still found.
    let (code, found) = with("AWS_ENDPOINT_URL", "http://127.0.0.1:1").await;
    assert_eq!(code, Some(2), "{found:#?}");
    assert_eq!(named(&found), [("unknown", "secrets"), ("unknown", "aws"), ("unknown", "files")]);
    fixture.run("alter role millrace_ingest createdb").await;
    let (code, found) = with("AWS_ENDPOINT_URL", "http://127.0.0.1:1").await;
    assert_eq!(code, Some(1), "{found:#?}");
    assert!(named(&found).contains(&("problem", "roles")), "{found:#?}");
    fixture.run("alter role millrace_ingest nocreatedb").await;

    // Only a queue is unavailable.
    let (code, found) =
        with("MILLRACE_DEAD_LETTER_QUEUE_URL", &format!("{}-gone", fixture.aws.upload_queue_url)).await;
    assert_eq!(code, Some(2), "{found:#?}");
    assert!(found.iter().all(|found| found.level == "unknown"), "{found:#?}");

    // A variable is missing. The database is checked without it.
    let (code, found) = with("MILLRACE_UPLOAD_QUEUE_URL", "").await;
    assert_eq!(code, Some(2), "{found:#?}");
    assert_eq!(named(&found), [("unknown", "environment"), ("unknown", "files")]);
    assert!(found[0].found.contains("MILLRACE_UPLOAD_QUEUE_URL: missing"), "{found:#?}");
}

#[tokio::test]
async fn doctor_advises_to_migrate_an_empty_database() {
    let fixture = DoctorFixture::new().await;
    let empty = Database::empty().await;
    let mut variables = fixture.variables();
    variables.retain(|(name, _)| name != "DATABASE_URL");
    variables.push(("DATABASE_URL".to_owned(), empty.url()));
    let said = millrace(&["doctor", "--json"], variables).await;
    let found = findings(&said);
    assert_eq!(said.code, Some(1));
    assert_eq!(named(&found), [("problem", "migrations"), ("unknown", "database")]);
    assert_eq!(found[0].action, "millrace migrate");
}
