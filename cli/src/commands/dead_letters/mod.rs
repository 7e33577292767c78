//! `millrace dead-letters`: one module a subcommand.

mod context;
mod drop;
mod export;
mod ids;
mod list;
mod output;
mod redrive;
mod restore;
mod selection;
mod show;

use std::sync::Arc;

use millrace::Result;
use millrace::config::Sources;

use self::context::DeadLetterContext;
use super::{CommandOutcome, Stop};
use crate::arguments::dead_letters::DeadLettersCommand;
use crate::checkout::Checkout;
use crate::environment::{DeadLetterEnvironment, Variables};
use crate::sources::load_sources;
use crate::terminal::Terminal;

pub async fn run(
    command: &DeadLettersCommand,
    checkout: &Checkout,
    terminal: &mut Terminal,
) -> Result<CommandOutcome> {
    // Wrong arguments are reported before anything is read.
    match command {
        DeadLettersCommand::Drop(arguments) => drop::check(arguments)?,
        DeadLettersCommand::Redrive(arguments) => redrive::check(arguments)?,
        _ => {}
    }
    let environment = DeadLetterEnvironment::load(checkout)?;
    let clients = environment.clients().await?;
    let context = DeadLetterContext {
        reader: environment.reader(&clients).with_sources(sources(checkout)),
        environment: &environment,
        clients: &clients,
    };
    let mut stop = Stop::listen()?;
    let ended = match command {
        DeadLettersCommand::List(arguments) => list::run(arguments, &context, &mut stop, terminal).await,
        DeadLettersCommand::Show(arguments) => show::run(arguments, &context, &mut stop, terminal).await,
        DeadLettersCommand::Export(arguments) => export::run(arguments, &context, &mut stop, terminal).await,
        DeadLettersCommand::Drop(arguments) => drop::run(arguments, &context, &mut stop, terminal).await,
        DeadLettersCommand::Restore(arguments) => {
            restore::run(arguments, &context, &mut stop, terminal).await
        }
        DeadLettersCommand::Redrive(arguments) => {
            redrive::run(arguments, &context, &mut stop, terminal).await
        }
    };
    // Also after an error: the messages that a scan hid become visible again before this program ends.
    context.reader.wait_for_scans().await;
    ended
}

/// The declared sources. An invalid `sources.toml` does not hide the dead letters that it caused: their files are then listed
/// by the naming convention.
fn sources(checkout: &Checkout) -> Arc<Sources> {
    let sources = Variables::load(checkout).and_then(|variables| load_sources(checkout, &variables));
    Arc::new(sources.unwrap_or_else(|error| {
        Terminal::stderr().bad(&format!("files are listed by the naming convention: {}", error.chain()));
        Sources::default()
    }))
}
