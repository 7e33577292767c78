//! What a check finds.

use millrace::Result;
use serde::Serialize;

/// How bad it is. In the order in which they decide over the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// Nothing is wrong yet.
    Warning,
    /// The check could not be made.
    Unknown,
    Problem,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub level: Level,
    /// What was looked at: a stable word.
    pub check: &'static str,
    pub found: String,
    /// What to do about it: a command, to be run in the checkout with the stack's variables set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

impl Finding {
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Finding { level: Level::Ok, check, found: found.into(), action: None }
    }

    pub fn warning(check: &'static str, found: impl Into<String>, action: impl Into<String>) -> Self {
        Finding { level: Level::Warning, check, found: found.into(), action: Some(action.into()) }
    }

    pub fn problem(check: &'static str, found: impl Into<String>, action: impl Into<String>) -> Self {
        Finding { level: Level::Problem, check, found: found.into(), action: Some(action.into()) }
    }

    /// `why` says what was in the way.
    pub fn unknown(check: &'static str, why: impl Into<String>) -> Self {
        Finding { level: Level::Unknown, check, found: why.into(), action: None }
    }
}

/// What one check found: its findings, or why it could not be made.
pub fn settle(check: &'static str, looked: Result<Vec<Finding>>) -> Vec<Finding> {
    looked.unwrap_or_else(|error| vec![Finding::unknown(check, error.chain())])
}

/// `findings`, or that all is well when there are none.
pub fn or_ok(findings: Vec<Finding>, check: &'static str, found: impl Into<String>) -> Vec<Finding> {
    if findings.is_empty() { vec![Finding::ok(check, found)] } else { findings }
}

/// The first few of many names: `a, b, c and 4 more`.
pub fn some_of<S: AsRef<str>>(names: &[S], count: usize) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    let more = count.saturating_sub(shown.len());
    let shown = shown.join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// A statement, as a command of the shell.
pub fn psql(statement: &str) -> String {
    format!("psql \"$DATABASE_URL\" -c '{}'", statement.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_quoted_for_the_shell() {
        let command = psql("select 'a'").replace("psql \"$DATABASE_URL\" -c", "printf %s");
        let output = std::process::Command::new("sh").arg("-c").arg(command).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "select 'a'");
    }

    #[test]
    fn of_many_names_a_few_are_said() {
        assert_eq!(some_of(&["a", "b"], 2), "a, b");
        assert_eq!(some_of(&["a", "b", "c", "d", "e"], 9), "a, b, c, d, e and 4 more");
    }
}
