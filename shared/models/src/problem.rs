//! The problems of a file, each with its line and column.

/// A position in a file. Both numbers begin at 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At {
    pub line: usize,
    pub column: usize,
}

impl At {
    pub const START: At = At { line: 1, column: 1 };
}

/// The problems of one file.
#[derive(Debug, Clone)]
pub(crate) struct Problems {
    file: String,
    found: Vec<(At, String)>,
}

impl Problems {
    pub fn new(file: &str) -> Self {
        Problems { file: file.to_owned(), found: Vec::new() }
    }

    pub fn add(&mut self, at: At, message: impl Into<String>) {
        self.found.push((at, message.into()));
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Each as `file:line:column: message`, in the order of the file.
    pub fn lines(&self) -> Vec<String> {
        let mut found = self.found.clone();
        found.sort_by_key(|(at, _)| *at);
        found.dedup();
        found
            .iter()
            .map(|(at, message)| format!("{}:{}:{}: {message}", self.file, at.line, at.column))
            .collect()
    }
}

/// `a`, `b` and `c`
pub(crate) fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}
