//! Deploying what is derived from facts.
//!
//! - [`catalog`]: what the database holds of derived relations, and what each is computed from.
//! - [`touch`]: triggers by which a change below a derived relation says what has to be computed again.

pub mod catalog;
pub mod touch;

/// What a deployment did to one relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its name in schema `facts`.
    pub relation: String,
    pub what: String,
}

impl Change {
    pub fn new(relation: &str, what: impl Into<String>) -> Self {
        Change { relation: relation.to_owned(), what: what.into() }
    }
}
