//! The batches that a model has not seen, and the table to which their facts are written.

use std::time::Instant;

use millrace::Result;
use millrace::database::Connection;
use tokio_postgres::types::Type;

use crate::model::Model;
use crate::sql::{Parameter, Statement};

const UNSEEN: Statement = Statement::new("count unseen batches", include_str!("unseen.sql"));
const HAS_OTHER_VERSION: Statement =
    Statement::new("look for another version of a model", include_str!("has_other_version.sql"));

/// The table to which a backfill writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackfillTarget {
    InPlace,
    /// A new table, which then replaces the old one.
    Rebuild,
}

impl BackfillTarget {
    pub const ALL: [BackfillTarget; 2] = [BackfillTarget::InPlace, BackfillTarget::Rebuild];

    /// As in the column `target`.
    pub const fn name(self) -> &'static str {
        match self {
            BackfillTarget::InPlace => "in_place",
            BackfillTarget::Rebuild => "rebuild",
        }
    }

    /// The name of the table.
    pub fn table(self, model: &Model) -> String {
        match self {
            BackfillTarget::InPlace => model.name.clone(),
            BackfillTarget::Rebuild => format!("{}__rebuild", model.name),
        }
    }
}

/// The processed batches that a model has not seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unseen {
    pub batches: i64,
    pub events: i64,
    /// Another version of the model wrote facts that are still in the table.
    pub has_other_version: bool,
}

/// Counts the processed batches and events that `model` has not seen.
pub async fn unseen(connection: &mut Connection, model: &Model, deadline: Instant) -> Result<Unseen> {
    let parameters = ModelParameters::of(model);
    let seen = parameters.typed();
    let rows = UNSEEN.query_alone(connection, deadline, &seen).await?;
    let others = HAS_OTHER_VERSION.query_alone(connection, deadline, &seen[2..]).await?;
    Ok(Unseen {
        batches: rows.first().map_or(0, |row| row.get(0)),
        events: rows.first().map_or(0, |row| row.get(1)),
        has_other_version: others.first().is_some_and(|row| row.get(0)),
    })
}

/// The target of a backfill: in place, unless the table contains facts of another version of the model.
pub fn target_for(unseen: &Unseen, full_refresh: bool) -> Option<BackfillTarget> {
    match (full_refresh || unseen.has_other_version && unseen.batches > 0, unseen.batches) {
        (true, _) => Some(BackfillTarget::Rebuild),
        (false, 0) => None,
        (false, _) => Some(BackfillTarget::InPlace),
    }
}

/// A model as parameters: its routes, name and fingerprint.
pub struct ModelParameters<'m> {
    model: &'m Model,
    sources: Vec<&'m str>,
    event_types: Vec<Option<&'m str>>,
}

impl<'m> ModelParameters<'m> {
    pub fn of(model: &'m Model) -> Self {
        ModelParameters {
            model,
            sources: model.routes.iter().map(|route| route.source.as_str()).collect(),
            event_types: model.routes.iter().map(|route| route.event_type.as_deref()).collect(),
        }
    }

    pub fn typed(&self) -> [Parameter<'_>; 4] {
        [
            (&self.sources, Type::TEXT_ARRAY),
            (&self.event_types, Type::TEXT_ARRAY),
            (&self.model.name, Type::TEXT),
            (&self.model.fingerprint, Type::TEXT),
        ]
    }
}
