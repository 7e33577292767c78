//! The database of the stack: the server of the user, or a server that the stack starts. Applies the migrations and sets a password
//! for the role of each function.

use std::path::{Path, PathBuf};

use millrace::database::{self, Settings};
use millrace::{Code, Error, Kind, Result, migrate};

use super::deploy::StackParameters;
use super::postgres::{self, Server};
use super::{ports, secret};
use crate::checkout::Checkout;
use crate::terminal::Terminal;

/// The database of the stack's own server.
const DATABASE: &str = "millrace";
/// The roles of the functions, each with the file of its password and the parameter of the template.
const ROLES: [(&str, &str, &str); 2] = [
    ("millrace_ingest", "ingest-password", "DatabasePassword"),
    ("millrace_transform", "transform-password", "TransformDatabasePassword"),
];

/// A database that is ready for the functions.
#[derive(Debug)]
pub struct Database {
    /// `None` for the server of the user.
    pub server: Option<Server>,
    /// The connection string of its owner.
    pub url: String,
}

impl Database {
    /// Uses the server of `DATABASE_URL`, otherwise starts one.
    pub async fn start(checkout: &Checkout, state: &Path, terminal: &mut Terminal) -> Result<Self> {
        if let Some(url) = std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty()) {
            let step = terminal.step("database");
            let client = connect(&url).await.map_err(|error| {
                Error::new(
                    Kind::Config,
                    "the server of DATABASE_URL: start it, or unset the variable to use the stack's own server",
                )
                .with_source(error)
            })?;
            let version = server_version(&client).await?;
            terminal.done(step, &format!("PostgreSQL {version}, yours (DATABASE_URL)"));
            return Ok(Database { server: None, url });
        }
        let step = terminal.step("database");
        let server = start_server(checkout, &state.join("postgres"))?;
        let admin = connect(&server.url("postgres")).await?;
        let failed = |error| database::failure::from_postgres("create the local database", error);
        let there = admin
            .query_opt("select from pg_database where datname = $1", &[&DATABASE])
            .await
            .map_err(failed)?;
        if there.is_none() {
            admin.batch_execute(&format!("create database {DATABASE}")).await.map_err(failed)?;
        }
        let version = server_version(&admin).await?;
        terminal.done(step, &format!("PostgreSQL {version} at 127.0.0.1:{}", server.port()));
        let url = server.url(DATABASE);
        Ok(Database { server: Some(server), url })
    }

    /// Applies the migrations.
    pub async fn migrate(&self, terminal: &mut Terminal) -> Result<()> {
        let step = terminal.step("migrations");
        let mut client = connect(&self.url).await?;
        let summary = migrate::migrate(&mut client, |_, _| {}).await.map_err(|error| {
            // The stack's own server may contain the migrations of another state of the checkout.
            if self.server.is_none() || error.code() != Code::MigrationDrift {
                return error;
            }
            let advice = "the local database has the migrations of another state of this checkout; remove .millrace to begin with an empty one";
            Error::new(Kind::Config, advice).with_source(error)
        })?;
        let outcome = match summary.applied.len() {
            0 => format!("up to date at version {}", summary.version),
            count => format!("{count} applied, now at version {}", summary.version),
        };
        terminal.done(step, &outcome);
        Ok(())
    }

    /// Sets the passwords of the functions' roles, and returns the parameters of the template.
    pub async fn parameters(&self, state: &Path) -> Result<StackParameters> {
        let client = connect(&self.url).await?;
        let mut passwords = Vec::new();
        for (role, file, parameter) in ROLES {
            let password = secret::kept_in(&state.join(file))?;
            // The password is hexadecimal, and ALTER ROLE takes no parameters.
            let statement = format!("alter role {role} login password '{password}'");
            client.batch_execute(&statement).await.map_err(|error| {
                database::failure::from_postgres("set the password of a function's role", error)
            })?;
            passwords.push((parameter, password));
        }
        StackParameters::from_url(&self.url, passwords)
    }
}

fn start_server(checkout: &Checkout, state: &Path) -> Result<Server> {
    let binaries = binaries_for(state, postgres::find_servers(&checkout.postgres()))?;
    let memory = state.join("port");
    let mut options = postgres::ServerOptions::new(state, binaries);
    options.port = ports::remembered(&memory);
    let server = Server::start(&options)?;
    ports::remember(&memory, server.port())?;
    Ok(server)
}

/// The first of these servers. Existing data requires the version that created it.
fn binaries_for(state: &Path, servers: Vec<PathBuf>) -> Result<PathBuf> {
    let made_by = std::fs::read_to_string(state.join("data/PG_VERSION")).ok();
    let made_by = made_by.as_deref().map(str::trim);
    let fits = |binaries: &PathBuf| {
        made_by
            .is_none_or(|made_by| postgres::major_version(binaries).is_some_and(|version| version == made_by))
    };
    servers.into_iter().find(fits).ok_or_else(|| {
        let message = match made_by {
            None => "no PostgreSQL: run `make demo` once, which installs one, or set DATABASE_URL to a running server"
                .to_owned(),
            Some(made_by) => format!(
                "the local database was created by PostgreSQL {made_by}, which is not installed: install it, or remove {} \
                 to begin with an empty database",
                state.display()
            ),
        };
        Error::new(Kind::Config, message)
    })
}

async fn connect(url: &str) -> Result<tokio_postgres::Client> {
    database::connection::connect(&Settings::parse(url)?.application_name("millrace")).await
}

/// "15.18"
async fn server_version(client: &tokio_postgres::Client) -> Result<String> {
    let row = client
        .query_one("select split_part(current_setting('server_version'), ' ', 1)", &[])
        .await
        .map_err(|error| database::failure::from_postgres("ask for the server's version", error))?;
    Ok(row.get(0))
}
