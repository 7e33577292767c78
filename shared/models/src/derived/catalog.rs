//! Reads the derived relations of the database and their base relations.

use millrace::Result;
use ring::digest::{SHA256, digest};
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Transaction};

use crate::model::{Model, ModelKind, Reference};
use crate::project::Project;
use crate::sql::{Statement, identifier, relation as fact};

const NODES: Statement = Statement::new("read the derived relations", include_str!("nodes.sql"));
const BASES: Statement = Statement::new("read the base relations", include_str!("bases.sql"));
const FUNCTIONS: Statement = Statement::new("read the functions of triggers", include_str!("functions.sql"));
const TRIGGERS: Statement = Statement::new("read the invalidation triggers", include_str!("triggers.sql"));

/// A relation of schema `facts` that is computed from others: a rollup, or any materialized view.
#[derive(Debug, Clone)]
pub struct Node<'p> {
    pub name: String,
    /// `None` when a user created it.
    pub model: Option<&'p Model>,
    pub relation: u32,
    pub is_materialized: bool,
    pub is_populated: bool,
    pub is_owned: bool,
    /// It has a unique index, which `refresh … concurrently` requires.
    pub has_usable_key: bool,
    /// The relations that it reads, directly or through views, including these views.
    pub bases: Vec<Base>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    pub relation: u32,
    pub schema: String,
    pub name: String,
    pub kind: BaseKind,
    /// Whether Millrace can create triggers on it.
    pub can_have_triggers: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BaseKind {
    Table,
    MaterializedView,
    /// A view, which reads other relations.
    View,
    /// A relation without triggers, such as a foreign table.
    Other,
}

/// A trigger that records invalidations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    pub relation: u32,
    /// The name in SQL.
    pub on: String,
    pub function: String,
    pub name: String,
    /// Its first argument.
    pub argument: String,
    pub is_enabled: bool,
}

/// A function of invalidation triggers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub source: String,
}

/// The maximum length of a PostgreSQL identifier, in bytes.
const LONGEST_NAME: usize = 63;

/// Returns `name`, or a shortened name with a hash if PostgreSQL would truncate it, so that long names stay different.
pub(super) fn bounded(name: &str) -> String {
    if name.len() <= LONGEST_NAME {
        return name.to_owned();
    }
    let hash = hex::encode(&digest(&SHA256, name.as_bytes()).as_ref()[..4]);
    format!("{}_{hash}", &name[..name.floor_char_boundary(LONGEST_NAME - 1 - hash.len())])
}

/// The name of the invalidation function of the derived relation `name`.
pub fn function_name(name: &str) -> String {
    bounded(&format!("invalidate_{name}"))
}

impl Base {
    /// The name in SQL.
    pub fn qualified(&self) -> String {
        format!("{}.{}", identifier(&self.schema), identifier(&self.name))
    }
}

/// Every derived relation that exists, each after the relations that it reads, then in the order of the project, then by name.
pub async fn nodes<'p>(transaction: &Transaction<'_>, project: &'p Project) -> Result<Vec<Node<'p>>> {
    let rollups: Vec<&Model> =
        project.models.iter().filter(|model| model.kind == ModelKind::Rollup).collect();
    let names: Vec<&str> = rollups.iter().map(|model| model.name.as_str()).collect();
    let rows = NODES.query(transaction, &[(&names, Type::TEXT_ARRAY)]).await?;
    let mut nodes: Vec<Node<'p>> = rows.iter().map(|row| node(row, project)).collect();
    let place = |node: &Node<'_>| project.models.iter().position(|model| model.name == node.name);
    nodes.sort_by_key(|node| place(node).unwrap_or(usize::MAX));

    let read: Vec<(&str, String)> = rollups
        .iter()
        .flat_map(|model| model.reads.iter().filter_map(|read| Some((model.name.as_str(), relation(read)?))))
        .collect();
    let (readers, relations): (Vec<&str>, Vec<String>) = read.into_iter().unzip();
    let rows =
        BASES.query(transaction, &[(&readers, Type::TEXT_ARRAY), (&relations, Type::TEXT_ARRAY)]).await?;
    for row in &rows {
        let reader: &str = row.get("node");
        if let Some(node) = nodes.iter_mut().find(|node| node.name == reader) {
            node.bases.push(base(row));
        }
    }
    Ok(in_order(nodes))
}

pub async fn triggers(transaction: &Transaction<'_>) -> Result<Vec<Trigger>> {
    let rows = TRIGGERS.query(transaction, &[]).await?;
    Ok(rows
        .iter()
        .map(|row| Trigger {
            relation: row.get("relation"),
            on: row.get("on"),
            function: row.get("function"),
            name: row.get("name"),
            // Each argument ends in a zero byte.
            argument: row.get::<_, &str>("arguments").split("\\000").next().unwrap_or_default().to_owned(),
            is_enabled: row.get("is_enabled"),
        })
        .collect())
}

pub async fn functions(transaction: &Transaction<'_>) -> Result<Vec<Function>> {
    let rows = FUNCTIONS.query(transaction, &[]).await?;
    Ok(rows.iter().map(|row| Function { name: row.get("name"), source: row.get("source") }).collect())
}

/// The name in SQL; `None` for the events of a fact.
fn relation(read: &Reference) -> Option<String> {
    match read {
        Reference::Batch => None,
        Reference::Model(name) => Some(fact(name)),
        Reference::Other(name) => Some(name.clone()),
    }
}

fn node<'p>(row: &Row, project: &'p Project) -> Node<'p> {
    let name: String = row.get("name");
    let model = project.models.iter().find(|model| {
        model.name == name && matches!(model.kind, ModelKind::Rollup | ModelKind::MaterializedView)
    });
    Node {
        model,
        relation: row.get("relation"),
        is_materialized: row.get("is_materialized"),
        is_populated: row.get("is_populated"),
        is_owned: row.get("is_owned"),
        has_usable_key: row.get("has_usable_key"),
        bases: Vec::new(),
        name,
    }
}

fn base(row: &Row) -> Base {
    Base {
        relation: row.get("relation"),
        schema: row.get("schema"),
        name: row.get("name"),
        kind: match row.get("kind") {
            "table" => BaseKind::Table,
            "materialized_view" => BaseKind::MaterializedView,
            "view" => BaseKind::View,
            _ => BaseKind::Other,
        },
        can_have_triggers: row.get("can_have_triggers"),
    }
}

/// Sorts relations topologically. A cycle is only possible with manually created relations: a materialized view that reads a rollup
/// which reads it. It is broken at its first relation.
fn in_order(mut waiting: Vec<Node<'_>>) -> Vec<Node<'_>> {
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let ready = waiting.iter().position(|node| {
            !waiting.iter().any(|other| other.relation != node.relation && node.reads(other.relation))
        });
        ordered.push(waiting.remove(ready.unwrap_or(0)));
    }
    ordered
}

impl Node<'_> {
    /// Whether it reads the relation, directly or through views.
    pub fn reads(&self, relation: u32) -> bool {
        self.bases.iter().any(|base| base.relation == relation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_stay_apart_and_short_ones_as_they_are() {
        assert_eq!(function_name("orders"), "invalidate_orders");
        let (one, other) = ("ü".repeat(40), "ü".repeat(41));
        assert!(function_name(&one).len() <= LONGEST_NAME);
        assert_ne!(function_name(&one), function_name(&other));
    }
}
