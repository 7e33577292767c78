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

use millrace::Result;

use self::context::Context;
use super::{Outcome, Stop};
use crate::arguments::dead_letters::DeadLettersCommand;
use crate::checkout::Checkout;
use crate::environment::DeadLetterEnvironment;
use crate::terminal::Terminal;

pub async fn run(
    command: &DeadLettersCommand,
    checkout: &Checkout,
    terminal: &mut Terminal,
) -> Result<Outcome> {
    // Wrong arguments are reported before anything is read.
    match command {
        DeadLettersCommand::Drop(arguments) => drop::check(arguments)?,
        DeadLettersCommand::Redrive(arguments) => redrive::check(arguments)?,
        _ => {}
    }
    let environment = DeadLetterEnvironment::load(checkout)?;
    let clients = environment.clients().await?;
    let context =
        Context { reader: environment.reader(&clients), environment: &environment, clients: &clients };
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
