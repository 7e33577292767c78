//! `millrace`: parses the arguments, runs the command and exits with its status.

use std::process::ExitCode;

use clap::Parser;
use millrace_cli::arguments::Arguments;
use millrace_cli::commands::CommandOutcome;
use millrace_cli::terminal::Terminal;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match millrace_cli::run(arguments, &mut Terminal::stdout()).await {
        Ok(outcome) => outcome.exit_code(),
        Err(error) => {
            Terminal::stderr().error(&error);
            CommandOutcome::Unable.exit_code()
        }
    }
}
