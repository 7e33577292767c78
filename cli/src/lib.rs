//! The command line: the local stack, the demo, migrations, uploads, webhooks and status.
//!
//! # Layout
//!
//! - [`arguments`]: the arguments with their help; [`commands`]: one module per command.
//! - [`stack`]: PostgreSQL, a local AWS and the deployed template, started and stopped together. Tests use it too.
//! - [`checkout`], [`environment`]: the files of the repository, and the variables of a running stack.
//! - [`upload`], [`follow`]: upload a file, and follow its load.
//! - [`sources`]: the webhooks of `sources.toml` with their secrets; [`delivery`]: signs a body like its sender; [`post`]: one HTTP
//!   request; [`diagnosis`]: explains why a delivery is refused.
//! - [`loads`], [`ledger`], [`lag`], [`model_runs`], [`dead_letters`]: read the ledger, the runs of models and the dead-letter queue.
//! - [`doctor`]: the checks of `millrace doctor`.
//! - [`terminal`]: prints all output.

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
use commands::CommandOutcome;
use millrace::Result;
use terminal::Terminal;

/// Runs one command to its end.
pub async fn run(arguments: Arguments, terminal: &mut Terminal) -> Result<CommandOutcome> {
    // This command needs no checkout, so it also works if only the program is installed.
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
            // Boxed, because the nested futures of a claim exceed the recursion limit of the compiler.
            Box::pin(commands::models::run(&arguments, &checkout, terminal)).await
        }
        Command::DeadLetters(arguments) => {
            commands::dead_letters::run(&arguments.command, &checkout, terminal).await
        }
        Command::Completions { shell } => commands::completions::run(shell, terminal),
        Command::Tail => commands::tail::run(&checkout, terminal).await,
    }
}
