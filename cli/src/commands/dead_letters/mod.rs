//! `millrace dead-letters`: one module a subcommand.

mod drop;
mod export;
mod list;
mod redrive;
mod restore;
mod show;

use millrace::dead_letter::{DeadLetterReader, Filter};
use millrace::{Error, Kind, Result};
use serde::Serialize;

use super::{Outcome, Stop};
use crate::arguments::dead_letters::DeadLettersCommand;
use crate::checkout::Checkout;
use crate::dead_letters::archive::Archive;
use crate::dead_letters::summary::Summary;
use crate::dead_letters::{Progress, each};
use crate::environment::{Clients, Environment};
use crate::terminal::Terminal;

pub async fn run(
    command: &DeadLettersCommand,
    checkout: &Checkout,
    terminal: &mut Terminal,
) -> Result<Outcome> {
    // What is wrong with the arguments is said before anything is looked at.
    match command {
        DeadLettersCommand::Drop(arguments) => drop::check(arguments)?,
        DeadLettersCommand::Redrive(arguments) => redrive::check(arguments)?,
        _ => {}
    }
    let environment = Environment::load(checkout)?;
    if let DeadLettersCommand::Redrive(arguments) = command {
        return redrive::run(arguments, &environment, terminal).await;
    }
    let clients = environment.clients().await?;
    let desk = Desk { reader: environment.reader(&clients), environment: &environment, clients: &clients };
    let mut stop = Stop::listen()?;
    let ended = match command {
        DeadLettersCommand::List(arguments) => list::run(arguments, &desk, &mut stop, terminal).await,
        DeadLettersCommand::Show(arguments) => show::run(arguments, &desk, &mut stop, terminal).await,
        DeadLettersCommand::Export(arguments) => export::run(arguments, &desk, &mut stop, terminal).await,
        DeadLettersCommand::Drop(arguments) => drop::run(arguments, &desk, &mut stop, terminal).await,
        DeadLettersCommand::Restore(arguments) => restore::run(arguments, &desk, &mut stop, terminal).await,
        DeadLettersCommand::Redrive(_) => Ok(Outcome::Done),
    };
    // However it ended: what was hidden is put back before this program goes.
    desk.reader.settle().await;
    ended
}

/// What the subcommands work with.
struct Desk<'a> {
    environment: &'a Environment,
    clients: &'a Clients,
    reader: DeadLetterReader,
}

impl Desk<'_> {
    fn archive(&self) -> Archive<'_> {
        Archive {
            clients: self.clients,
            bucket: &self.environment.bucket,
            queue_url: &self.environment.dead_letter_queue_url,
        }
    }

    /// Every dead letter that is meant, in a line each; whether that is all of them. None when somebody asked to stop.
    async fn summary(
        &self,
        filter: &Filter,
        archived: bool,
        stop: &mut Stop,
    ) -> Result<Option<(Summary, bool)>> {
        let mut summary = Summary::default();
        let complete = if archived {
            let progress = Progress::new("reading the archive");
            let archive = self.archive();
            let look = archive.each(&progress, async |archived| {
                if archived.entry.is_meant(filter) {
                    summary.add(&archived.entry);
                }
                Ok(())
            });
            stop.unless_asked(async { look.await.map(|()| true) }).await?
        } else {
            let progress = Progress::new("reading the dead-letter queue");
            let look = each(&self.reader, &progress, |entry| {
                if entry.is_meant(filter) {
                    summary.add(&entry);
                }
                Ok(true)
            });
            stop.unless_asked(look).await?
        };
        Ok(complete.map(|complete| (summary, complete)))
    }
}

/// A command that changes something takes "everything" only when that is said.
fn check_meant(is_everything: bool, all: bool, command: &str) -> Result<()> {
    match (is_everything, all) {
        (true, false) => Err(Error::new(
            Kind::Config,
            format!("which dead letters? give a filter (`millrace dead-letters {command} --help`), or --all"),
        )),
        (false, true) => Err(Error::new(Kind::Config, "a filter and --all: which of the two?")),
        _ => Ok(()),
    }
}

/// Somebody asked to stop; nothing is lost.
fn stopped(what: &str, terminal: &mut Terminal) -> Outcome {
    terminal.bad(&format!("stopped; {what}"));
    Outcome::TimedOut
}

fn print_json(value: &impl Serialize, terminal: &mut Terminal) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::new(Kind::Bug, "write dead letters as JSON").with_source(error))?;
    terminal.line(&text);
    Ok(())
}

fn print_incomplete(terminal: &mut Terminal) {
    terminal.bad(
        "These are not all of them: the queue holds more than can be looked at, or answers too slowly. Redrive, drop or \
         archive some, and look again.",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_must_be_said() {
        for (is_everything, all, fine) in
            [(true, true, true), (false, false, true), (true, false, false), (false, true, false)]
        {
            let checked = check_meant(is_everything, all, "drop");
            assert_eq!(checked.is_ok(), fine, "{is_everything} {all}");
        }
    }
}
