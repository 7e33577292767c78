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
use millrace::{Error, Kind, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
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
/// The characters of a key that S3 does not encode in a notification.
const KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'*');

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
    key: String,
    /// `None` for an object that was uploaded without versioning.
    version_id: Option<String>,
    /// The origin of the version in the ledger.
    version: String,
    size: i64,
    etag: String,
}

/// Lists the files under `incoming/` that are older than `unloaded_for`, page by page, and finds those without a load. With `load`,
/// sends their notifications to the upload queue.
pub async fn missing(check: &FileCheck<'_>, unloaded_for: Duration, load: bool) -> Result<Vec<Finding>> {
    let newest = SystemTime::now().checked_sub(unloaded_for).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut from = None;
    let (mut listed, mut found) = (0_u64, Unloaded::default());
    let mut dead_letters = None;
    loop {
        let page = list(check, from.take()).await?;
        let files: Vec<File> =
            page.versions().iter().filter(|version| is_settled(version, newest)).filter_map(read).collect();
        listed += files.len() as u64;
        let unknown = unknown(check, files).await?;
        let (ours, others): (Vec<File>, Vec<File>) = unknown
            .into_iter()
            .partition(|file| matches!(check.sources.route(&file.key), ObjectRoute::Csv(_)));
        // Read the queue at most once.
        if dead_letters.is_none() && !ours.is_empty() {
            dead_letters = Some(refused(check).await?);
        }
        let is_refused = |file: &File| {
            dead_letters.as_ref().is_some_and(|dead_letters| {
                dead_letters.contains(&(file.key.clone(), file.version_id.clone()))
            })
        };
        let (failed, ours): (Vec<File>, Vec<File>) = ours.into_iter().partition(is_refused);
        if load {
            let bodies: Vec<Value> =
                ours.iter().map(|file| notification(&check.environment.bucket, file)).collect();
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
        self.first.extend(files.iter().take(room).map(|file| file.key.clone()));
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
fn read(version: &ObjectVersion) -> Option<File> {
    let key = version.key.clone().filter(|key| !key.ends_with('/'))?;
    let etag = version.e_tag.clone().unwrap_or_default();
    let version_id = version.version_id.clone().filter(|id| !id.is_empty() && id != "null");
    // The origin that ingest-csv stores in the ledger.
    let name = version_id.clone().unwrap_or_else(|| {
        let modified = version.last_modified.map_or(0, |at| at.secs());
        format!("etag-{}-{modified}", etag.trim_matches('"'))
    });
    Some(File { key, version_id, version: name, size: version.size.unwrap_or(0), etag })
}

/// The versions without a load.
async fn unknown(check: &FileCheck<'_>, files: Vec<File>) -> Result<Vec<File>> {
    let bucket = &check.environment.bucket;
    let origin = |file: &File| format!("s3://{bucket}/{}?version={}", file.key, file.version);
    let origins: Vec<String> = files.iter().map(origin).collect();
    let rows = check
        .database
        .query_typed(UNKNOWN_ORIGINS, &[(&origins, Type::TEXT_ARRAY)])
        .await
        .map_err(|error| from_postgres("look for loads in the ledger", error))?;
    let unknown: Vec<&str> = rows.iter().map(|row| row.get("origin")).collect();
    Ok(files.into_iter().filter(|file| unknown.contains(&origin(file).as_str())).collect())
}

/// The notification of S3 for the version. It has no sequencer, so that loads compare the time of the upload.
fn notification(bucket: &str, file: &File) -> Value {
    let mut object = json!({
        "key": utf8_percent_encode(&file.key, KEY).to_string(),
        "size": file.size,
        "eTag": file.etag.trim_matches('"'),
    });
    if let Some(version) = &file.version_id {
        object["versionId"] = json!(version);
    }
    json!({ "Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": { "s3SchemaVersion": "1.0", "bucket": { "name": bucket }, "object": object },
    }] })
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

/// The notification of `s3://bucket/key?version=…`.
fn announcement(origin: &str) -> Option<Value> {
    let (object, version) = origin.strip_prefix("s3://")?.rsplit_once("?version=")?;
    let (bucket, key) = object.split_once('/')?;
    // The substitute for a version id is not a version id.
    let version_id = Some(version.to_owned()).filter(|version| !version.starts_with("etag-"));
    let file =
        File { key: key.to_owned(), version_id, version: version.to_owned(), size: 0, etag: String::new() };
    Some(notification(bucket, &file))
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
        let missed = |version: ObjectVersion| is_settled(&version, newest) && read(&version).is_some();
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
