//! Runs `sam deploy` for the template on the local AWS.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::process::Command;

use millrace::{Error, Kind, Result};
use serde_json::Value;

use super::ministack::{self, Emulator};
use super::names::{FUNCTIONS, STACK};
use super::process::Process;
use crate::checkout::Checkout;
use crate::environment::{Clients, aws_failure};

const ARTIFACTS: &str = "millrace-deploy";

/// The deployed resources.
#[derive(Debug, Clone)]
pub struct DeployedStack {
    pub bucket: String,
    pub upload_queue_url: String,
    pub dead_letter_queue_url: String,
    pub webhooks: Webhooks,
    /// False if nothing had changed since the last deployment.
    pub changed: bool,
}

/// The URL of the webhook API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhooks {
    pub url: String,
    /// The Host header by which the emulator identifies the API.
    pub host: String,
}

/// The parameters of the template for the database.
#[derive(Debug, Clone)]
pub struct StackParameters {
    pub database_host: String,
    pub database_port: u16,
    pub database_name: String,
    pub ssl_mode: String,
    pub root_certificate: String,
    /// The template's parameter and its value, for each role.
    pub passwords: Vec<(&'static str, String)>,
}

impl StackParameters {
    /// The parameters for the server of `url`, with the roles of the functions.
    pub fn from_url(url: &str, passwords: Vec<(&'static str, String)>) -> Result<Self> {
        let wrong = |what: &str| Error::new(Kind::Config, format!("DATABASE_URL: {what}"));
        let (_, rest) = url.split_once("://").ok_or_else(|| wrong("it must start with postgresql://"))?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = place.split_once('/').unwrap_or((place, ""));
        let (user, address) = authority.rsplit_once('@').unwrap_or(("", authority));
        if address.contains(',') {
            return Err(wrong("the local stack supports one host only"));
        }
        // The colon before the port is the one after the bracket of an IPv6 address.
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().map_err(|_| wrong("the port is not a number"))?)
            }
            _ => (address, 5432),
        };
        let setting = |name: &str| {
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value)
        };
        let host = setting("host").filter(|_| host.is_empty()).unwrap_or(host);
        if host.is_empty() {
            return Err(wrong("it names no host"));
        }
        let local = matches!(host, "localhost" | "127.0.0.1" | "[::1]") || host.starts_with(['/', '%']);
        // The default database has the name of the user.
        let database = if database.is_empty() { user.split(':').next().unwrap_or(user) } else { database };
        Ok(StackParameters {
            database_host: host.replace('/', "%2F"),
            database_port: port,
            database_name: database.to_owned(),
            ssl_mode: setting("sslmode").unwrap_or(if local { "prefer" } else { "verify-full" }).to_owned(),
            root_certificate: setting("sslrootcert").unwrap_or_default().to_owned(),
            passwords,
        })
    }
}

/// Deploys, unless the emulator has the resources of the same template, binaries and parameters.
pub async fn deploy(
    checkout: &Checkout,
    state: &Path,
    emulator: &Emulator,
    clients: &Clients,
    parameters: &StackParameters,
) -> Result<DeployedStack> {
    if let Some(function) = FUNCTIONS.map(|name| checkout.function(name)).iter().find(|file| !file.is_file())
    {
        return Err(Error::new(
            Kind::Config,
            format!("{} is missing: `make dev` and `make demo` build it", checkout.display(function)),
        ));
    }
    let overrides = overrides(checkout, parameters);
    let fingerprint = fingerprint(checkout, emulator, &overrides)?;
    let memory = state.join("deployed");
    let unchanged = fs::read_to_string(&memory).is_ok_and(|last| last == fingerprint);
    if unchanged && let Some(deployed) = find(emulator, clients).await {
        return Ok(deployed);
    }
    run_sam(checkout, state, emulator, clients, &overrides).await?;
    let deployed = find(emulator, clients).await.ok_or_else(|| {
        Error::new(
            Kind::Bug,
            "the template was deployed, but its bucket, queues, functions or API are missing",
        )
    })?;
    fs::write(&memory, &fingerprint)
        .map_err(|error| Error::new(Kind::Config, "store the hash of the deployment").with_source(error))?;
    Ok(DeployedStack { changed: true, ..deployed })
}

fn overrides(checkout: &Checkout, parameters: &StackParameters) -> Vec<String> {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    let mut overrides = vec![
        format!("DatabaseHost={}", parameters.database_host),
        format!("DatabasePort={}", parameters.database_port),
        format!("DatabaseName={}", parameters.database_name),
        format!("DatabaseSslMode={}", parameters.ssl_mode),
        format!("Architecture={architecture}"),
        // The emulator compares this text with a number.
        "MaximumConcurrency=0".to_owned(),
        // The emulator does not mount layers.
        format!("PipelinePath={}", checkout.pipeline().display()),
    ];
    overrides
        .extend(parameters.passwords.iter().map(|(parameter, password)| format!("{parameter}={password}")));
    // SAM does not accept an empty value.
    let certificate = Some(parameters.root_certificate.as_str()).filter(|path| !path.is_empty());
    overrides.push(format!("DatabaseRootCertificate={}", certificate.unwrap_or("none")));
    overrides
}

/// A hash of everything that a deployment depends on, without the layer: the emulator mounts no layers, and functions read
/// `pipeline/` of the checkout.
fn fingerprint(checkout: &Checkout, emulator: &Emulator, overrides: &[String]) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    overrides.hash(&mut hasher);
    emulator.port().hash(&mut hasher);
    let mut files = vec![checkout.infra().join("template.yaml"), checkout.infra().join("samconfig.toml")];
    files.extend(FUNCTIONS.map(|name| checkout.function(name)));
    for file in files {
        let bytes = fs::read(&file).map_err(|error| {
            Error::new(Kind::Config, format!("read {}", checkout.display(&file))).with_source(error)
        })?;
        (file, bytes).hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// The deployed resources, if all of them exist.
async fn find(emulator: &Emulator, clients: &Clients) -> Option<DeployedStack> {
    let bucket = format!("{STACK}-000000000000-us-east-1");
    clients.s3.head_bucket().bucket(&bucket).send().await.ok()?;
    let queue =
        async |name: String| clients.sqs.get_queue_url().queue_name(name).send().await.ok()?.queue_url;
    for name in FUNCTIONS {
        let function = format!("/2015-03-31/functions/{STACK}-{name}");
        ministack::get(emulator.port(), &function).filter(|(status, _)| *status == 200)?;
    }
    Some(DeployedStack {
        bucket,
        upload_queue_url: queue(format!("{STACK}-uploads")).await?,
        dead_letter_queue_url: queue(format!("{STACK}-dead-letters")).await?,
        webhooks: find_api(emulator)?,
        changed: false,
    })
}

fn find_api(emulator: &Emulator) -> Option<Webhooks> {
    let (_, body) = ministack::get(emulator.port(), "/v2/apis").filter(|(status, _)| *status == 200)?;
    let answer: Value = serde_json::from_str(&body).ok()?;
    let name = format!("{STACK}-webhooks");
    let api = answer["items"].as_array()?.iter().find(|api| api["name"] == name.as_str())?;
    Some(Webhooks {
        url: format!("{}/webhooks", emulator.address().endpoint),
        host: api["apiEndpoint"].as_str()?.split_once("://")?.1.to_owned(),
    })
}

async fn run_sam(
    checkout: &Checkout,
    state: &Path,
    emulator: &Emulator,
    clients: &Clients,
    overrides: &[String],
) -> Result<()> {
    if let Err(error) = clients.s3.create_bucket().bucket(ARTIFACTS).send().await
        && !error.as_service_error().is_some_and(|error| error.is_bucket_already_owned_by_you())
    {
        return Err(aws_failure("create a bucket for the deployment", &error));
    }
    let address = emulator.address();
    let bin = checkout.tools().join("bin");
    let home = state.join("home");
    let log = state.join("deploy.log");
    let mut command = Command::new(bin.join("sam"));
    command
        .args(["deploy", "--template", "template.yaml", "--config-env", "local", "--parameter-overrides"])
        .args(overrides)
        .current_dir(checkout.infra())
        .env_clear()
        .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display()))
        .env("HOME", home)
        .env("TMPDIR", state.join("tmp"))
        .env("LANG", "C.UTF-8")
        .env("SAM_CLI_TELEMETRY", "0")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_ENDPOINT_URL", &address.endpoint)
        .env("AWS_DEFAULT_REGION", &address.region)
        .env("AWS_ACCESS_KEY_ID", &address.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", &address.secret_access_key);
    let mut sam = Process::start("sam deploy", command, &log)?;
    if sam.wait().await?.success() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Config,
        format!("sam deploy failed ({}):\n{}", checkout.display(&log), sam.last_words()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_connect_where_the_owner_does() {
        for (url, host, port, name, ssl_mode) in [
            ("postgresql://a:b@127.0.0.1:5433/shop", "127.0.0.1", 5433, "shop", "prefer"),
            ("postgres://a:b@db.example.com/shop", "db.example.com", 5432, "shop", "verify-full"),
            ("postgresql://a:p@ss@h/shop?sslmode=require&connect_timeout=3", "h", 5432, "shop", "require"),
            ("postgresql://me@localhost", "localhost", 5432, "me", "prefer"),
            ("postgresql://me@[::1]:5433/x", "[::1]", 5433, "x", "prefer"),
            ("postgresql://me@/x?host=/var/run/postgresql", "%2Fvar%2Frun%2Fpostgresql", 5432, "x", "prefer"),
        ] {
            let parameters = StackParameters::from_url(url, Vec::new()).unwrap();
            assert_eq!(parameters.database_host, host, "{url}");
            assert_eq!(parameters.database_port, port, "{url}");
            assert_eq!(parameters.database_name, name, "{url}");
            assert_eq!(parameters.ssl_mode, ssl_mode, "{url}");
        }
        assert!(StackParameters::from_url("postgresql://a@h1,h2/x", Vec::new()).is_err());
        assert!(StackParameters::from_url("postgresql://a@h:x/x", Vec::new()).is_err());
    }
}
