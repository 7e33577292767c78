//! `millrace completions`

use clap::CommandFactory;
use clap_complete::Shell;

use millrace::{Error, Kind, Result};

use super::CommandOutcome;
use crate::arguments::Arguments;
use crate::terminal::Terminal;

pub fn run(shell: Shell, terminal: &mut Terminal) -> Result<CommandOutcome> {
    terminal.line(script(shell)?.trim_end());
    Ok(CommandOutcome::Done)
}

/// The script that makes `shell` complete the arguments of `millrace`.
fn script(shell: Shell) -> Result<String> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "millrace", &mut script);
    String::from_utf8(script)
        .map_err(|error| Error::new(Kind::Bug, "the completion script is not UTF-8").with_source(error))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use clap::ValueEnum;

    use super::*;

    #[test]
    fn bash_parses_its_script() {
        let mut bash = Command::new("bash").args(["-n", "/dev/stdin"]).stdin(Stdio::piped()).spawn().unwrap();
        bash.stdin.take().unwrap().write_all(script(Shell::Bash).unwrap().as_bytes()).unwrap();
        assert!(bash.wait().unwrap().success());
    }

    #[test]
    fn every_script_names_every_subcommand() {
        for shell in Shell::value_variants() {
            let script = script(*shell).unwrap();
            for command in Arguments::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
            }
        }
    }
}
