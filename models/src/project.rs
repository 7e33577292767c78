//! The folder of models, read, parsed, checked and ordered; no database.

use crate::model::{Model, Route};

/// Every model of a folder.
#[derive(Debug, Clone, Default)]
pub struct Project {
    /// In the order in which they can run: a model after everything it reads.
    pub models: Vec<Model>,
    /// Files that are wrong. What they would take is left alone until they are mended.
    pub broken: Vec<Broken>,
}

/// A file that is no model.
#[derive(Debug, Clone, PartialEq)]
pub struct Broken {
    pub name: String,
    pub file: String,
    /// Each as `file:line:column: what is wrong and what to do`.
    pub problems: Vec<String>,
    /// The events that it would take; `None` when its header does not say, so that it might be any.
    pub routes: Option<Vec<Route>>,
}

impl Project {
    /// The fact models that take the events of a source and type, in order.
    pub fn facts_for<'p>(&'p self, source: &'p str, event_type: &'p str) -> impl Iterator<Item = &'p Model> {
        self.models.iter().filter(move |model| model.routes.iter().any(|route| route.takes(source, event_type)))
    }
}
