//! The local stack: starts and stops PostgreSQL, a local AWS and the deployed template together.

pub mod child;
pub mod database;
pub mod deploy;
pub mod lock;
pub mod ministack;
mod names;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod secret;
pub mod webhook_secrets;

use std::fs;
use std::path::PathBuf;

use millrace::config::Sources;
use millrace::{Error, Kind, Result};

use self::database::Database;
use self::lock::{Lock, LockAttempt};
use self::ministack::Emulator;
use self::names::{FUNCTIONS, STACK};
use crate::checkout::Checkout;
use crate::environment::{Environment, WebhookAddress};
use crate::terminal::Terminal;

/// A running stack. Dropping it stops everything that it started.
#[derive(Debug)]
pub struct Stack {
    pub environment: Environment,
    env_file: PathBuf,
    // In the order of their drop: functions must not lose their database while they run.
    emulator: Emulator,
    database: Database,
    _lock: Lock,
}

/// The result of starting a stack.
#[derive(Debug)]
pub enum Start {
    Running(Box<Stack>),
    /// Another one runs in this checkout: "`millrace dev`, process 4711".
    HeldBy(String),
}

impl Stack {
    /// Starts everything and writes `.millrace/env`. A second start reports `holder`: "`millrace dev`".
    pub async fn start(checkout: &Checkout, holder: &str, terminal: &mut Terminal) -> Result<Start> {
        let failed = |error: std::io::Error| Error::new(Kind::Config, "prepare .millrace").with_source(error);
        let state = checkout.state();
        fs::create_dir_all(&state).map_err(failed)?;
        let lock = match Lock::take(&state.join("lock"), holder)? {
            LockAttempt::Taken(lock) => lock,
            LockAttempt::HeldBy(other) => return Ok(Start::HeldBy(other)),
        };
        let database = Database::start(checkout, &state, terminal).await?;
        database.migrate(terminal).await?;
        let parameters = database.parameters(&state).await?;

        let step = terminal.step("local AWS");
        let aws_state = state.join("aws");
        let emulator = Emulator::start(&aws_state, &checkout.tools(), true).await?;
        let address = emulator.address();
        terminal.done(step, &format!("MiniStack at {}", address.endpoint));

        let step = terminal.step("functions");
        let clients = address.clients().await;
        let deployed = deploy::deploy(checkout, &aws_state, &emulator, &clients, &parameters).await?;
        let how = if deployed.changed { "deployed with sam deploy" } else { "as deployed before" };
        terminal.done(step, &format!("{} functions, {how}", FUNCTIONS.len()));

        let step = terminal.step("secrets");
        let sources = Sources::load(&checkout.pipeline())?;
        let client = millrace::aws::secretsmanager_client(&address.config().await);
        let own = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let secrets = webhook_secrets::provide(&sources, &state.join("secrets"), &client, own).await?;
        terminal.done(step, &format!("of {} webhook sources, in Secrets Manager", secrets.len()));
        if let Err(error) = webhook_secrets::unseen(&sources) {
            terminal.bad(&error.chain());
        }

        let environment = Environment {
            database_url: database.url.clone(),
            bucket: deployed.bucket,
            upload_queue_url: deployed.upload_queue_url,
            dead_letter_queue_url: deployed.dead_letter_queue_url,
            local_aws: Some(address),
            webhooks: Some(WebhookAddress { url: deployed.webhooks.url, host: Some(deployed.webhooks.host) }),
            redrive_function: FUNCTIONS.contains(&"redrive").then(|| format!("{STACK}-redrive")),
            secrets,
        };
        let env_file = checkout.environment();
        environment.write(&env_file)?;
        Ok(Start::Running(Box::new(Stack { environment, env_file, emulator, database, _lock: lock })))
    }

    /// Stops everything in order, and prints it.
    pub fn stop(self, terminal: &mut Terminal) {
        let step = terminal.step("stopping");
        drop(self);
        terminal.done(step, "everything that was started");
    }

    /// An error once the local AWS has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        self.emulator.check()
    }

    /// Starts the stack's own PostgreSQL again if it has ended. A server of the user is left to the user.
    ///
    /// # Errors
    /// The server does not start, for example because its port is in use.
    pub fn restart_database(&mut self) -> Result<()> {
        self.database.server.as_mut().map_or(Ok(()), postgres::Server::restart)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.env_file) {
            tracing::warn!(%error, "cannot remove .millrace/env");
        }
    }
}
