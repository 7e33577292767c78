//! Checks for files in the bucket without a load, and for loads without progress.
//!
//! S3 normally sends at least one notification per object, but may rarely lose one, and a user may delete one. A duplicate
//! notification does nothing, because ingest-csv has already loaded the version. A file that failed before its load began is in
//! the dead-letter queue. No notification is sent for it, because it must be redriven.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::types::ObjectVersion;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use millrace::config::Sources;
use millrace::config::sources::ObjectRoute;
use millrace::database::failure::from_postgres;
use millrace::dead_letter::{DeadLetterKind, DeadLetterReader};
use millrace::notification::object_created;
use millrace::origin::{VersionedObject, unversioned};
use millrace::{Error, Kind, Result};
use serde_json::Value;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::finding::{Finding, some_of};
use crate::dead_letters::{self, ScanProgress};
use crate::environment::{Clients, Environment, aws_failure};
use crate::terminal::{age, counted};

const UNKNOWN_ORIGINS: &str = include_str!("queries/unknown_origins.sql");
const STUCK_LOADS: &str = include_str!("queries/stuck_loads.sql");
/// The prefix of the files.
const PREFIX: &str = "incoming/";
/// The number of names that are shown.
const SHOWN: usize = 5;
/// A notification is redelivered after an hour and a half at the latest.
const STUCK_SECONDS: f64 = 3.0 * 3_600.0;

/// The clients and data of the check.
pub struct FileCheck<'a> {
    pub environment: &'a Environment,
    pub clients: &'a Clients,
    pub database: &'a Client,
    pub sources: &'a Sources,
}

/// The newest version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    object: VersionedObject,
    size: i64,
    etag: String,
}

/// Lists the files under `incoming/` that are older than `unloaded_for`, page by page, and finds those without a load. With `load`,
/// sends their notifications to the upload queue.
pub async fn missing(check: &FileCheck<'_>, unloaded_for: Duration, load: bool) -> Result<Vec<Finding>> {
    let newest = SystemTime::now().checked_sub(unloaded_for).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut from = None;
    let bucket = &check.environment.bucket;
    let (mut listed, mut found) = (0_u64, Unloaded::default());
    let mut dead_letters = None;
    loop {
        let page = list(check, from.take()).await?;
        let files: Vec<File> = page
            .versions()
            .iter()
            .filter(|version| is_settled(version, newest))
            .filter_map(|version| read(bucket, version))
            .collect();
        listed += files.len() as u64;
        let unknown = unknown(check, files).await?;
        let (ours, others): (Vec<File>, Vec<File>) = unknown
            .into_iter()
            .partition(|file| matches!(check.sources.route(&file.object.key), ObjectRoute::Csv(_)));
        // Read the queue at most once.
        if dead_letters.is_none() && !ours.is_empty() {
            dead_letters = Some(refused(check).await?);
        }
        let is_refused = |file: &File| {
            dead_letters.as_ref().is_some_and(|dead_letters| {
                let object = &file.object;
                dead_letters.contains(&(object.key.clone(), object.version_id().map(str::to_owned)))
            })
        };
        let (failed, ours): (Vec<File>, Vec<File>) = ours.into_iter().partition(is_refused);
        if load {
            let bodies: Vec<Value> =
                ours.iter().map(|file| object_created(&file.object, file.size, &file.etag)).collect();
            announce(check, &bodies).await?;
        }
        found.lost.add(&ours);
        found.failed.add(&failed);
        found.homeless.add(&others);
        match (page.is_truncated, page.next_key_marker, page.next_version_id_marker) {
            (Some(true), Some(key), version) => from = Some((key, version)),
            _ => break,
        }
    }
    Ok(describe(listed, &found, unloaded_for, load))
}

/// The versions of objects with a dead letter of kind `upload`.
async fn refused(check: &FileCheck<'_>) -> Result<BTreeSet<(String, Option<String>)>> {
    let Clients { sqs, objects, .. } = check.clients;
    let queue = check.environment.dead_letter_queue_url.clone();
    let reader = DeadLetterReader::new(sqs.clone(), objects.clone(), queue);
    let mut refused = BTreeSet::new();
    // If the scan is incomplete, a notification may be sent for a file with a dead letter, which does no harm.
    dead_letters::each(&reader, &ScanProgress::hidden(), |entry| {
        let dead_letter = entry.dead_letter.filter(|dead_letter| dead_letter.kind == DeadLetterKind::Upload);
        if let Some((key, version)) =
            dead_letter.and_then(|dead_letter| Some((dead_letter.origin.key?, dead_letter.origin.version)))
        {
            refused.insert((key, version));
        }
        Ok(true)
    })
    .await?;
    Ok(refused)
}

/// A page of the versions under `incoming/`, after a key and its version.
async fn list(
    check: &FileCheck<'_>,
    from: Option<(String, Option<String>)>,
) -> Result<ListObjectVersionsOutput> {
    let (key, version) = from.unzip();
    check
        .clients
        .s3
        .list_object_versions()
        .bucket(&check.environment.bucket)
        .prefix(PREFIX)
        .set_key_marker(key)
        .set_version_id_marker(version.flatten())
        .send()
        .await
        .map_err(|error| aws_failure("list the bucket", &error))
}

/// Files without a load.
#[derive(Debug, Default)]
struct Unloaded {
    /// Files without a dead letter.
    lost: Names,
    /// Files with a dead letter.
    failed: Names,
    /// Files whose keys belong to no source.
    homeless: Names,
}

/// The number of files, and the names of the first few.
#[derive(Debug, Default)]
struct Names {
    count: usize,
    first: Vec<String>,
}

impl Names {
    fn add(&mut self, files: &[File]) {
        self.count += files.len();
        let room = SHOWN - self.first.len();
        self.first.extend(files.iter().take(room).map(|file| file.object.key.clone()));
    }

    fn text(&self) -> String {
        some_of(&self.first, self.count)
    }
}

fn describe(listed: u64, unloaded: &Unloaded, unloaded_for: Duration, loaded: bool) -> Vec<Finding> {
    const CHECK: &str = "files";
    let Unloaded { lost, failed, homeless } = unloaded;
    let mut findings = Vec::new();
    if lost.count > 0 {
        let files = counted(lost.count as u64, "file", "files");
        let found = format!(
            "{files} under {PREFIX} without a load after {}: {}",
            age(unloaded_for.as_secs_f64()),
            lost.text()
        );
        findings.push(if loaded {
            let found = format!("{found}; their notifications were sent to the upload queue");
            Finding::warning(CHECK, found, "millrace doctor  # once they are loaded")
        } else {
            let action = "millrace doctor --load-missing  # unless they wait in the upload queue";
            Finding::problem(CHECK, found, action)
        });
    }
    if failed.count > 0 {
        let files = counted(failed.count as u64, "file", "files");
        let found = format!("{files} under {PREFIX} failed, with dead letters: {}", failed.text());
        findings.push(Finding::warning(CHECK, found, "millrace dead-letters list --kind upload"));
    }
    if homeless.count > 0 {
        let files = counted(homeless.count as u64, "file", "files");
        let found = format!("{files} under {PREFIX} without a source: {}", homeless.text());
        let action = "aws s3 mv \"s3://$MILLRACE_BUCKET/$KEY\" \"s3://$MILLRACE_BUCKET/incoming/<source>/<event_type>/\"";
        findings.push(Finding::warning(CHECK, found, action));
    }
    if findings.is_empty() {
        let files = counted(listed, "file", "files");
        findings.push(Finding::ok(
            CHECK,
            format!("{files} under {PREFIX} for {}, each in a load", age(unloaded_for.as_secs_f64())),
        ));
    }
    findings
}

fn is_settled(version: &ObjectVersion, newest: SystemTime) -> bool {
    let modified = version.last_modified.and_then(|at| SystemTime::try_from(at).ok());
    version.is_latest == Some(true) && modified.is_some_and(|at| at <= newest)
}

/// `None` for an object that is not a file: consoles create an empty object for a "folder".
fn read(bucket: &str, version: &ObjectVersion) -> Option<File> {
    let key = version.key.clone().filter(|key| !key.ends_with('/'))?;
    let etag = version.e_tag.clone().unwrap_or_default();
    let version_id = version.version_id.clone().filter(|id| !id.is_empty() && id != "null");
    let modified = version.last_modified.map_or(0, |at| at.secs());
    let named = version_id.unwrap_or_else(|| unversioned(&etag, modified));
    let object = VersionedObject { bucket: bucket.to_owned(), key, version: named };
    Some(File { object, size: version.size.unwrap_or(0), etag })
}

/// The versions without a load.
async fn unknown(check: &FileCheck<'_>, files: Vec<File>) -> Result<Vec<File>> {
    let origins: Vec<String> = files.iter().map(|file| file.object.origin()).collect();
    let rows = check
        .database
        .query_typed(UNKNOWN_ORIGINS, &[(&origins, Type::TEXT_ARRAY)])
        .await
        .map_err(|error| from_postgres("look for loads in the ledger", error))?;
    let unknown: Vec<&str> = rows.iter().map(|row| row.get("origin")).collect();
    Ok(files.into_iter().filter(|file| unknown.contains(&file.object.origin().as_str())).collect())
}

/// Sends notifications to the upload queue, ten per request.
async fn announce(check: &FileCheck<'_>, bodies: &[Value]) -> Result<()> {
    for ten in bodies.chunks(10) {
        let mut entries = Vec::new();
        for (index, body) in ten.iter().enumerate() {
            let entry = SendMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .message_body(body.to_string())
                .build()
                .map_err(|error| Error::new(Kind::Bug, "build a notification").with_source(error))?;
            entries.push(entry);
        }
        let answer = check
            .clients
            .sqs
            .send_message_batch()
            .queue_url(&check.environment.upload_queue_url)
            .set_entries(Some(entries))
            .send()
            .await
            .map_err(|error| aws_failure("send notifications to the upload queue", &error))?;
        if let Some(refused) = answer.failed().first() {
            let message = format!("the upload queue refused a notification: {}", refused.code());
            return Err(Error::new(Kind::Transient, message));
        }
    }
    Ok(())
}

/// Finds loads that have not ended and have staged nothing for hours. With `load`, sends their notifications again, which resumes the
/// loads.
pub async fn stuck(check: &FileCheck<'_>, load: bool) -> Result<Vec<Finding>> {
    const CHECK: &str = "loads";
    let rows = check
        .database
        .query_typed(STUCK_LOADS, &[(&STUCK_SECONDS, Type::FLOAT8)])
        .await
        .map_err(|error| from_postgres("look for loads without progress", error))?;
    if rows.is_empty() {
        return Ok(vec![Finding::ok(CHECK, "every running load makes progress")]);
    }
    let origins: Vec<&str> = rows.iter().map(|row| row.get("origin")).collect();
    let loads = counted(rows.len() as u64, "load", "loads");
    let found = format!(
        "{loads} running that staged nothing for {}: {}",
        age(STUCK_SECONDS),
        some_of(&origins, origins.len())
    );
    if !load {
        let action = "millrace doctor --load-missing  # resumes them";
        return Ok(vec![Finding::problem(CHECK, found, action)]);
    }
    let bodies: Vec<Value> = origins.iter().filter_map(|origin| announcement(origin)).collect();
    announce(check, &bodies).await?;
    let found = format!("{found}; their notifications were sent to the upload queue");
    Ok(vec![Finding::warning(CHECK, found, "millrace doctor  # once they have ended")])
}

/// The notification of the object with this origin.
fn announcement(origin: &str) -> Option<Value> {
    Some(object_created(&VersionedObject::parse(origin)?, 0, ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn a_load_is_announced_by_its_origin() {
        let body = announcement("s3://b/incoming/a b/ü?version=1/x.csv?version=v1").unwrap();
        let object = &body["Records"][0]["s3"]["object"];
        assert_eq!(object["key"], "incoming/a%20b/%C3%BC%3Fversion%3D1/x.csv");
        assert_eq!(object["versionId"], "v1");
        let unversioned = announcement("s3://b/incoming/a/b/x.csv?version=etag-9-17").unwrap();
        assert_eq!(unversioned["Records"][0]["s3"]["object"].get("versionId"), None);
        assert!(announcement("insert:1").is_none());
    }

    #[test]
    fn a_version_that_is_replaced_new_or_no_file_is_not_missed() {
        let version = |key: &str, latest: bool, seconds: i64| {
            ObjectVersion::builder()
                .key(key)
                .version_id("v")
                .is_latest(latest)
                .last_modified(aws_sdk_s3::primitives::DateTime::from_secs(seconds))
                .build()
        };
        let newest = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let missed = |version: ObjectVersion| is_settled(&version, newest) && read("b", &version).is_some();
        assert!(missed(version("incoming/a/b/c.csv", true, 100)));
        assert!(!missed(version("incoming/a/b/c.csv", false, 100)));
        assert!(!missed(version("incoming/a/b/c.csv", true, 101)));
        assert!(!missed(version("incoming/a/b/", true, 100)));
    }

    #[test]
    fn what_was_announced_again_is_a_problem_no_more() {
        let names = || Names { count: 7, first: vec!["a".to_owned()] };
        let day = Duration::from_secs(86_400);
        let levels = |unloaded: &Unloaded, loaded| -> Vec<Level> {
            describe(9, unloaded, day, loaded).iter().map(|finding| finding.level).collect()
        };
        let lost = Unloaded { lost: names(), ..Unloaded::default() };
        assert_eq!(levels(&lost, false), [Level::Problem]);
        assert_eq!(levels(&lost, true), [Level::Warning]);
        assert!(describe(9, &lost, day, false)[0].found.contains("a and 6 more"));
        let all = Unloaded { lost: names(), failed: names(), homeless: names() };
        assert_eq!(levels(&all, false), [Level::Problem, Level::Warning, Level::Warning]);
        assert_eq!(levels(&Unloaded::default(), false), [Level::Ok]);
    }
}
