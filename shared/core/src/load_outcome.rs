//! The outcome of a load, in `staging.load_results`.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadOutcome {
    Loaded,
    /// More records were rejected than the source declares.
    Stopped,
    /// The file breaks a rule. The readable part is staged.
    Failed,
    /// A newer version of the file was loaded first.
    Superseded,
}

impl LoadOutcome {
    pub const ALL: [LoadOutcome; 4] =
        [LoadOutcome::Loaded, LoadOutcome::Stopped, LoadOutcome::Failed, LoadOutcome::Superseded];

    /// As in the column `outcome`.
    pub const fn name(self) -> &'static str {
        match self {
            LoadOutcome::Loaded => "loaded",
            LoadOutcome::Stopped => "stopped",
            LoadOutcome::Failed => "failed",
            LoadOutcome::Superseded => "superseded",
        }
    }

    /// The outcome of this name; a constraint of the table allows no other.
    pub fn parse(name: &str) -> Option<LoadOutcome> {
        LoadOutcome::ALL.into_iter().find(|outcome| outcome.name() == name)
    }

    /// Whether every row of the file is staged, or of the newer version in its place.
    pub const fn is_good(self) -> bool {
        matches!(self, LoadOutcome::Loaded | LoadOutcome::Superseded)
    }
}

impl fmt::Display for LoadOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
