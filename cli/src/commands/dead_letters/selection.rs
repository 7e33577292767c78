//! Which dead letters a command that changes something may take.

use millrace::{Error, Kind, Result};

/// Such a command takes every dead letter only with `--all`.
pub(super) fn check_meant(is_everything: bool, all: bool, command: &str) -> Result<()> {
    match (is_everything, all) {
        (true, false) => Err(Error::new(
            Kind::Config,
            format!("no filter: give one (`millrace dead-letters {command} --help`), or --all"),
        )),
        (false, true) => Err(Error::new(Kind::Config, "a filter and --all exclude each other")),
        _ => Ok(()),
    }
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
