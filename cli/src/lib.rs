//! The command line: the local stack, the demo, migrations, uploads, webhooks and status.
//!
//! # Layout
//!
//! - [`arguments`]: what can be typed, with its help; [`commands`]: one module a command.
//! - [`stack`]: PostgreSQL, a local AWS and the deployed template, started and stopped together. Tests use it too.
//! - [`checkout`], [`environment`]: where things are in the repository, and the variables of a running stack.
//! - [`upload`], [`follow`]: a file into the bucket, and from there to the end of its load.
//! - [`sources`]: what `sources.toml` says of a webhook, with its secrets; [`delivery`]: a body as its sender would send it;
//!   [`post`]: one HTTP request; [`diagnosis`]: why a delivery is refused, in words.
//! - [`loads`], [`ledger`], [`lag`], [`model_runs`], [`dead_letters`]: reading the ledger, the models' runs and the dead-letter
//!   queue; dead letters in words.
//! - [`doctor`]: whether everything is as it should be, check by check.
//! - [`terminal`]: everything that is printed goes through it.

pub mod arguments;
pub mod checkout;
pub mod commands;
pub mod dead_letters;
pub mod delivery;
pub mod diagnosis;
pub mod doctor;
pub mod environment;
pub mod follow;
pub mod lag;
pub mod ledger;
pub mod loads;
pub mod model_runs;
pub mod post;
pub mod sources;
pub mod stack;
pub mod terminal;
pub mod upload;

use arguments::{Arguments, Command};
use checkout::Checkout;
use commands::Outcome;
use millrace::Result;
use terminal::Terminal;

/// Runs one command to its end.
pub async fn run(arguments: Arguments, terminal: &mut Terminal) -> Result<Outcome> {
    // It needs no checkout: it also works where only the program is installed.
    if let Command::Completions { shell } = arguments.command {
        return commands::completions::run(shell, terminal);
    }
    let checkout = Checkout::find()?;
    match arguments.command {
        Command::Dev => commands::dev::run(&checkout, terminal).await,
        Command::Demo => commands::demo::run(&checkout, terminal).await,
        Command::Migrate(arguments) => commands::migrate::run(&arguments, &checkout, terminal).await,
        Command::Put(arguments) => commands::put::run(&arguments, &checkout, terminal).await,
        Command::Status(arguments) => commands::status::run(&arguments, &checkout, terminal).await,
        Command::Doctor(arguments) => Box::pin(commands::doctor::run(&arguments, &checkout, terminal)).await,
        Command::Send(arguments) => commands::send::run(&arguments, &checkout, terminal).await,
        Command::Verify(arguments) => commands::verify::run(&arguments, &checkout, terminal).await,
        Command::Models(arguments) => {
            // Boxed: the futures of a claim are deeper than the compiler lays out in one go.
            Box::pin(commands::models::run(&arguments, &checkout, terminal)).await
        }
        Command::DeadLetters(arguments) => {
            commands::dead_letters::run(&arguments.command, &checkout, terminal).await
        }
        Command::Completions { shell } => commands::completions::run(shell, terminal),
        Command::Tail => commands::tail::run(&checkout, terminal).await,
    }
}
