//! `millrace migrate`

use millrace::database::{self, Settings};
use millrace::migrate;
use millrace::{Error, Kind, Result};

use super::CommandOutcome;
use crate::arguments::Migrate;
use crate::checkout::Checkout;
use crate::environment;
use crate::terminal::{Terminal, seconds};

pub async fn run(
    arguments: &Migrate,
    checkout: &Checkout,
    terminal: &mut Terminal,
) -> Result<CommandOutcome> {
    let url = environment::database_url(checkout)?;
    let settings = Settings::parse(&url)?.application_name("millrace migrate");
    let mut client = database::connection::connect(&settings).await.map_err(|error| {
        let advice =
            "no database: set DATABASE_URL to a running server, or start the local stack with `make dev`";
        Error::new(Kind::Config, advice).with_source(error)
    })?;
    if arguments.dry_run || arguments.check {
        let pending = migrate::pending(&mut client).await?;
        for name in &pending {
            terminal.line(&format!("to apply  {name}"));
        }
        if pending.is_empty() {
            terminal.good("up to date");
        }
        return Ok(if arguments.check && !pending.is_empty() {
            CommandOutcome::Bad
        } else {
            CommandOutcome::Done
        });
    }
    let summary = migrate::migrate(&mut client, |migration, took| {
        terminal.line(&format!("applied  {}  {}", migration.name, seconds(took)));
    })
    .await?;
    terminal.good(&if summary.applied.is_empty() {
        format!("up to date at version {}", summary.version)
    } else {
        format!("{} applied; the database is at version {}", summary.applied.len(), summary.version)
    });
    Ok(CommandOutcome::Done)
}
