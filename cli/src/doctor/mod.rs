//! The checks of `millrace doctor`. Each check is a function that returns findings.
//!
//! - [`finding`]: a finding and the command that fixes it.
//! - [`configuration`], [`secrets`]: the files of `pipeline/`, and the secrets of webhooks.
//! - [`database`], [`roles`], [`partitions`]: the server, its migrations, roles and partitions.
//! - [`bucket`], [`queues`], [`clocks`]: the settings of the bucket and the queues, and the clocks.
//! - [`files`], [`work`], [`counts`]: files without a load, overdue work, and counts that do not reconcile.
//!
//! A check that cannot be made is a finding too. The other checks continue.

pub mod bucket;
pub mod clocks;
pub mod configuration;
pub mod counts;
pub mod database;
pub mod files;
pub mod finding;
pub mod partitions;
pub mod queues;
pub mod roles;
pub mod secrets;
pub mod work;

use std::path::PathBuf;

use millrace::Result;
use millrace::config::Sources;
use millrace_models::project::Project;
use tokio_postgres::Client;

use crate::arguments::Doctor;
use crate::checkout::Checkout;
use crate::environment::{self, Clients, Environment, Variables};
use crate::ledger::Report;
use crate::loads;
use files::FileCheck;
use finding::{Finding, settle};

/// Makes every check.
pub async fn examine(arguments: &Doctor, checkout: &Checkout) -> Result<Vec<Finding>> {
    let variables = Variables::load(checkout)?;
    let folder = variables.get("MILLRACE_PIPELINE").map_or_else(|| checkout.pipeline(), PathBuf::from);
    let (mut findings, sources) = configuration::sources(&folder);
    let (found, project) = configuration::models(&folder);
    findings.extend(found);

    let environment = match Environment::load(checkout) {
        Ok(environment) => {
            let place = match &environment.local_aws {
                Some(_) => "the local AWS",
                None => "AWS",
            };
            findings.push(Finding::ok("environment", format!("every variable is set, for {place}")));
            Some(environment)
        }
        Err(error) => {
            let why = format!("{}; without it secrets, bucket and queues are not looked at", error.chain());
            findings.push(Finding::unknown("environment", why));
            None
        }
    };
    if let (Some(sources), Some(environment)) = (&sources, &environment) {
        findings.extend(settle("secrets", secrets::check(sources, variables, environment).await));
    }
    // The database may be known even if the other variables are missing.
    let url = environment::database_url(checkout);
    let database = match url {
        Ok(url) => loads::connect(&url, "millrace doctor").await,
        Err(error) => Err(error),
    };
    let mut database = match database {
        Ok(database) => Some(database),
        Err(error) => {
            findings.push(Finding::unknown("database", error.chain()));
            None
        }
    };
    let mut is_migrated = false;
    if let Some(database) = &mut database {
        let (found, migrated) = examine_database(database, project.as_ref()).await;
        findings.extend(found);
        is_migrated = migrated;
    }

    let clients = match &environment {
        Some(environment) => match environment.clients().await {
            Ok(clients) => Some((environment, clients)),
            Err(error) => {
                findings.push(Finding::unknown("aws", error.chain()));
                None
            }
        },
        None => None,
    };
    if let Some((environment, clients)) = &clients {
        findings.extend(examine_aws(environment, clients).await);
    }
    findings.push(examine_clocks(database.as_ref(), clients.as_ref()).await);
    if let Some(database) = database.as_mut().filter(|_| is_migrated) {
        let place = clients.as_ref().zip(sources.as_ref());
        findings.extend(examine_files(database, place, arguments).await);
        findings.extend(examine_work(database, arguments).await);
    }
    Ok(findings)
}

/// The checks of the setup of the database. Also returns whether its contents can be checked.
async fn examine_database(database: &mut Client, project: Option<&Project>) -> (Vec<Finding>, bool) {
    let mut findings = settle("database", database::version(database).await);
    match database::migrations(database).await {
        Ok((found, is_behind)) => {
            findings.extend(found);
            if is_behind {
                let why = "what else is to be looked at in the database needs the migrations first";
                findings.push(Finding::unknown("database", why));
                return (findings, false);
            }
        }
        Err(error) => findings.push(Finding::unknown("migrations", error.chain())),
    }
    if let Some(project) = project {
        findings.extend(settle("deployed-models", database::models(database, project).await));
    }
    findings.extend(settle("roles", roles::roles(database).await));
    findings.extend(settle("privileges", roles::privileges(database).await));
    findings.extend(settle("partitions", partitions::ahead(database).await));
    (findings, true)
}

async fn examine_aws(environment: &Environment, clients: &Clients) -> Vec<Finding> {
    let Clients { s3, sqs, .. } = clients;
    let queue_url = &environment.dead_letter_queue_url;
    // These checks are independent, so they run concurrently.
    let (versioning, uploads, dead_letters, depths, oldest) = tokio::join!(
        bucket::versioning(s3, &environment.bucket),
        queues::attributes(sqs, &environment.upload_queue_url),
        queues::attributes(sqs, queue_url),
        queues::depths(sqs, environment),
        queues::oldest_dead_letter(sqs, queue_url),
    );
    let mut findings = settle("versioning", versioning);
    match &uploads {
        Ok(uploads) => {
            let notified = bucket::notifications(s3, &environment.bucket, queues::arn(uploads)).await;
            findings.extend(settle("notifications", notified));
        }
        Err(error) => findings.push(Finding::unknown("upload-queue", error.chain())),
    }
    match (&uploads, &dead_letters) {
        (Ok(uploads), Ok(dead_letters)) => {
            let uploads = (environment.upload_queue_url.as_str(), uploads);
            findings.extend(queues::settings(uploads, (queue_url, dead_letters)));
        }
        (_, Err(error)) => findings.push(Finding::unknown("dead-letter-queue", error.chain())),
        (Err(_), Ok(_)) => {}
    }
    findings.extend(settle("queues", depths));
    findings.extend(settle("dead-letter-age", oldest));
    findings
}

/// The clocks that can be read.
async fn examine_clocks(database: Option<&Client>, aws: Option<&(&Environment, Clients)>) -> Finding {
    let mut read = Vec::new();
    if let Some(database) = database {
        read.push(("the database", clocks::database(database).await));
    }
    if let Some((environment, clients)) = aws {
        read.push(("S3", clocks::s3(&clients.s3, &environment.bucket).await));
    }
    let mut others = Vec::new();
    for (name, ahead) in read {
        match ahead {
            Ok(ahead) => others.push((name, ahead)),
            Err(error) => return Finding::unknown("clocks", format!("{name}: {}", error.chain())),
        }
    }
    if others.is_empty() {
        return Finding::unknown("clocks", "there is no clock to compare this machine's with");
    }
    clocks::compare(&others)
}

async fn examine_files(
    database: &Client,
    place: Option<(&(&Environment, Clients), &Sources)>,
    arguments: &Doctor,
) -> Vec<Finding> {
    let Some(((environment, clients), sources)) = place else {
        return vec![Finding::unknown("files", "the bucket, or sources.toml, cannot be read")];
    };
    let check = FileCheck { environment, clients, database, sources };
    let missing = files::missing(&check, arguments.unloaded_for, arguments.load_missing).await;
    let mut findings = settle("files", missing);
    findings.extend(settle("loads", files::stuck(&check, arguments.load_missing).await));
    findings
}

async fn examine_work(database: &mut Client, arguments: &Doctor) -> Vec<Finding> {
    let mut findings = match Report::read(database, !arguments.quick).await {
        Ok(report) => [
            work::unprocessed(&report.lag, arguments.unprocessed_for),
            work::runs(&report.models),
            work::stale(&report.models),
            counts::check(&report),
        ]
        .concat(),
        Err(error) => vec![Finding::unknown("counts", error.chain())],
    };
    findings.extend(settle("backfills", work::backfills(database).await));
    findings
}
