//! The findings of a check.

use millrace::Result;
use serde::Serialize;

/// The level of a finding, in the order in which they determine the exit status.
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
    /// The name of the check, a stable word.
    pub check: &'static str,
    pub found: String,
    /// The command that fixes it. It runs in the checkout with the variables of the stack.
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

    /// `why` is the reason why the check could not be made.
    pub fn unknown(check: &'static str, why: impl Into<String>) -> Self {
        Finding { level: Level::Unknown, check, found: why.into(), action: None }
    }
}

/// The findings of a check, or the finding that it could not be made.
pub fn settle(check: &'static str, looked: Result<Vec<Finding>>) -> Vec<Finding> {
    looked.unwrap_or_else(|error| vec![Finding::unknown(check, error.chain())])
}

/// `findings`, or a finding of level ok if there are none.
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

/// A shell command that runs a statement.
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
