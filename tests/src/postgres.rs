//! One PostgreSQL server per test process, one database per test.
//!
//! `MILLRACE_TEST_POSTGRES` names the folder of the server's binaries. By default the newest pinned version is used. A
//! server that is installed on the machine never is.
//! Each test gets a copy of a migrated template, which takes about 50 ms, and connects as the roles of the functions.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use millrace::database::connection::connect;
use millrace::database::{Connection, Settings};
use millrace::migrate::migrate;
use millrace_cli::checkout::Checkout;
use millrace_cli::stack::postgres::{Server, ServerOptions};
use tempfile::TempDir;
use tokio::sync::{Mutex, OnceCell};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::directory::server_directory;

/// The password of every Millrace role in tests.
pub const ROLE_PASSWORD: &str = "role-password";
const TEMPLATE: &str = "template_migrated";
/// The major versions in `.tools/postgres`, as in `tests/run`.
const NEWEST: &str = "18";
const WITH_TLS: &str = "15";

struct Shared {
    server: Server,
    _directory: TempDir,
}

static SHARED: OnceLock<Shared> = OnceLock::new();
static MIGRATED: OnceCell<()> = OnceCell::const_new();
/// Only one copy of a template can be made at a time.
static COPYING: Mutex<()> = Mutex::const_new(());

fn shared() -> &'static Shared {
    SHARED.get_or_init(|| {
        let (server, directory) = start_server(|_| {});
        Shared { server, _directory: directory }
    })
}

/// Starts a separate server, for a test that breaks it. `adjust` may change its settings.
pub fn start_server(adjust: impl FnOnce(&mut ServerOptions)) -> (Server, TempDir) {
    let directory = server_directory();
    // The server runs as another user when the tests run as root.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).expect("open the directory");
    let mut options = ServerOptions::new(directory.path().join("postgres"), binaries());
    options.fast = true;
    adjust(&mut options);
    let server = Server::start(&options).expect("PostgreSQL starts");
    (server, directory)
}

/// The binaries under test.
pub fn binaries() -> PathBuf {
    std::env::var_os("MILLRACE_TEST_POSTGRES").map_or_else(|| pinned(NEWEST), PathBuf::from)
}

/// Binaries that support TLS. The package of the newest version is built without it.
pub fn binaries_with_tls() -> PathBuf {
    pinned(WITH_TLS)
}

/// The folder of psql and pgbench. The package of the oldest version has none, and newer programs work with its server.
pub fn psql_folder() -> PathBuf {
    Some(binaries()).filter(|folder| folder.join("psql").is_file()).unwrap_or_else(|| pinned(NEWEST))
}

fn pinned(version: &str) -> PathBuf {
    let binaries = Checkout::find().expect("the checkout").postgres().join(version).join("bin");
    assert!(binaries.is_dir(), "PostgreSQL {version} is not in .tools/postgres: `make tools` installs it");
    binaries
}

/// A migrated database for one test.
pub struct Database {
    name: String,
}

impl Database {
    pub async fn new() -> Database {
        MIGRATED.get_or_init(make_template).await;
        Self::create(&format!("template {TEMPLATE}")).await
    }

    /// An empty database.
    pub async fn empty() -> Database {
        Self::create("").await
    }

    async fn create(clause: &str) -> Database {
        let name = format!("test_{}", Uuid::now_v7().simple());
        let client = client(&shared().server.url("postgres")).await;
        let _turn = COPYING.lock().await;
        client.batch_execute(&format!("create database {name} {clause}")).await.expect("create a database");
        // The settings of a database are not copied with it.
        client
            .batch_execute(&format!(
                "alter database {name} set search_path = \"$user\", public, staging, facts"
            ))
            .await
            .expect("set the search path");
        Database { name }
    }

    /// The owner's connection string.
    pub fn url(&self) -> String {
        shared().server.url(&self.name)
    }

    /// The connection string of a role such as `millrace_ingest`.
    pub fn url_for(&self, role: &str) -> String {
        shared().server.url_for(role, ROLE_PASSWORD, &self.name)
    }

    pub fn port(&self) -> u16 {
        shared().server.port()
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// A session of the owner.
    pub async fn owner(&self) -> Client {
        client(&self.url()).await
    }

    /// A session of a role.
    pub async fn role(&self, role: &str) -> Client {
        client(&self.url_for(role)).await
    }

    /// A connection as a function uses it: of the ingest role, reconnecting.
    pub fn ingest(&self) -> Connection {
        Connection::new(Settings::parse(&self.url_for("millrace_ingest")).expect("a connection string"))
    }
}

/// Connects, or fails the test.
pub async fn client(url: &str) -> Client {
    connect(&Settings::parse(url).expect("a connection string")).await.expect("connect")
}

/// Migrates the database at `url` and gives every role the tests' password.
pub async fn prepare(url: &str) {
    let mut client = client(url).await;
    migrate(&mut client, |_, _| {}).await.expect("migrate");
    for role in ["millrace_ingest", "millrace_transform", "millrace_maintain", "millrace_reader"] {
        client
            .batch_execute(&format!("alter role {role} password '{ROLE_PASSWORD}'"))
            .await
            .expect("give a role its password");
    }
}

async fn make_template() {
    let server = &shared().server;
    client(&server.url("postgres"))
        .await
        .batch_execute(&format!("create database {TEMPLATE}"))
        .await
        .expect("create the template");
    prepare(&server.url(TEMPLATE)).await;
    // The template must have no session when it is copied. A session ends shortly after its client is dropped.
    let admin = client(&server.url("postgres")).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        let sessions: i64 = admin
            .query_one("select count(*) from pg_stat_activity where datname = $1", &[&TEMPLATE])
            .await
            .expect("count sessions")
            .get(0);
        if sessions == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("a session of the template stayed");
}

/// The number that a query returns.
pub async fn number(client: &Client, query: &str) -> i64 {
    client.query_one(query, &[]).await.expect(query).get(0)
}
