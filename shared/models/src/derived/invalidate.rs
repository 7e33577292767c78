//! Invalidation triggers: a change of a base relation records, in its own transaction, what must be recomputed.

use millrace::Result;
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use super::catalog::{BaseKind, Function, Node, Trigger, bounded, function_name, functions, nodes, triggers};
use super::rollup;
use crate::project::Project;
use crate::sql::{self, Statement, identifier, literal};

const FUNCTION: &str = include_str!("invalidation_function.sql");
const INVALIDATE_ALL: &str = include_str!("invalidate_all.sql");
const INVALIDATE_BUCKETS: &str = include_str!("invalidate_buckets.sql");
const INVALIDATE_RELATION: Statement =
    Statement::new("invalidate a derived relation", include_str!("invalidate_relation.sql"));
const DELETE: Statement = Statement::new(
    "delete the invalidations of missing derived relations",
    include_str!("delete_invalidations.sql"),
);

/// The events of the triggers, and the transition tables of their function.
const EVENTS: [(&str, &str); 4] = [
    ("insert", "referencing new table as new_rows"),
    ("update", "referencing old table as old_rows new table as new_rows"),
    ("delete", "referencing old table as old_rows"),
    ("truncate", ""),
];
/// Arguments of triggers.
const BUCKETS: &str = "buckets";
const EVERYTHING: &str = "everything";

/// Invalidates the whole derived relation `model`.
pub async fn invalidate_relation(transaction: &Transaction<'_>, model: &str) -> Result<()> {
    INVALIDATE_RELATION.execute(transaction, &[(&model, Type::TEXT)]).await?;
    Ok(())
}

/// The triggers that a deployment must change.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Derived relations with missing or outdated triggers.
    pub names: Vec<String>,
    /// Triggers exist that no derived relation needs.
    pub has_unwanted: bool,
}

pub(super) async fn changes(transaction: &Transaction<'_>, project: &Project) -> Result<Changes> {
    let nodes = nodes(transaction, project).await?;
    let existing = Existing::read(transaction).await?;
    let has_unwanted = !existing.unwanted(&kept(project, &nodes)).is_empty();
    let mut changes = Changes { names: Vec::new(), has_unwanted };
    for node in &nodes {
        let index = rollup::missing_index(transaction, node).await?;
        if index.is_some() || !existing.missing(node).statements.is_empty() {
            changes.names.push(node.name.clone());
        }
    }
    Ok(changes)
}

/// Creates the triggers of one derived relation, and the index that finds the rows of its buckets. If triggers were created or
/// changed, the whole relation is invalidated, because earlier changes were not recorded.
pub(super) async fn create_triggers(
    transaction: &Transaction<'_>,
    project: &Project,
    name: &str,
) -> Result<()> {
    let nodes = nodes(transaction, project).await?;
    let Some(node) = nodes.iter().find(|node| node.name == name) else { return Ok(()) };
    rollup::check_bucket(transaction, node).await?;
    let missing = Existing::read(transaction).await?.missing(node);
    let statements =
        missing.statements + &rollup::missing_index(transaction, node).await?.unwrap_or_default();
    sql::batch_execute(transaction, &format!("create the triggers of facts.{name}"), &statements).await?;
    if missing.is_fresh {
        invalidate_relation(transaction, name).await?;
    }
    Ok(())
}

/// Drops the functions of missing derived relations, together with their triggers.
pub(super) async fn drop_unwanted(transaction: &Transaction<'_>, project: &Project) -> Result<()> {
    let nodes = nodes(transaction, project).await?;
    let kept = kept(project, &nodes);
    for function in Existing::read(transaction).await?.unwanted(&kept) {
        let sql = format!("drop function pipeline.{} cascade", identifier(&function));
        sql::batch_execute(transaction, "drop the triggers of a missing derived relation", &sql).await?;
    }
    DELETE.execute(transaction, &[(&kept, Type::TEXT_ARRAY)]).await?;
    Ok(())
}

/// The relations whose triggers are kept, including those of broken files and of models whose relation does not exist yet, so that
/// no invalidations are lost.
fn kept(project: &Project, nodes: &[Node<'_>]) -> Vec<String> {
    let names = nodes.iter().map(|node| &node.name);
    let names = names.chain(project.broken.iter().map(|broken| &broken.name));
    names.chain(project.models.iter().map(|model| &model.name)).cloned().collect()
}

/// The existing functions and triggers.
struct Existing {
    functions: Vec<Function>,
    triggers: Vec<Trigger>,
}

/// The statements that create the missing triggers of a derived relation.
struct Missing {
    statements: String,
    /// Changes may have happened before the triggers existed.
    is_fresh: bool,
}

impl Existing {
    async fn read(transaction: &Transaction<'_>) -> Result<Existing> {
        Ok(Existing { functions: functions(transaction).await?, triggers: triggers(transaction).await? })
    }

    fn missing(&self, node: &Node<'_>) -> Missing {
        let function = Function { name: function_name(&node.name), source: body(node) };
        let mut statements = String::new();
        if !self.functions.contains(&function) {
            statements += &FUNCTION
                .replace("{function}", &identifier(&function.name))
                .replace("{body}", &literal(&function.source));
        }
        let same = |one: &Trigger, other: &Trigger| one.relation == other.relation && one.name == other.name;
        let wanted = wanted_triggers(node, &function.name);
        for (trigger, create) in &wanted {
            // A disabled trigger stays disabled. Its relation is then recomputed at every refresh.
            let exists = |other: &Trigger| {
                same(trigger, other)
                    && other.function == trigger.function
                    && other.argument == trigger.argument
            };
            if !self.triggers.iter().any(exists) {
                statements += create;
            }
        }
        let is_fresh = !statements.is_empty();
        for trigger in self.triggers.iter().filter(|trigger| trigger.function == function.name) {
            if !wanted.iter().any(|(other, _)| same(other, trigger)) {
                statements += &format!("drop trigger {} on {};\n", identifier(&trigger.name), trigger.on);
            }
        }
        Missing { statements, is_fresh }
    }

    /// The names of functions that no derived relation needs.
    fn unwanted(&self, kept: &[String]) -> Vec<String> {
        let kept: Vec<String> = kept.iter().map(|name| function_name(name)).collect();
        let names = self.functions.iter().map(|function| function.name.clone());
        names.filter(|name| !kept.contains(name)).collect()
    }
}

/// The source of the function. It begins with the fingerprint of the model, so that a changed model has a changed function.
fn body(node: &Node<'_>) -> String {
    let name = literal(&node.name);
    let bucket = node.model.and_then(|model| model.bucket.as_ref());
    let reason = node.model.map_or("created manually", |model| model.fingerprint.as_str());
    let template = if bucket.is_some() { INVALIDATE_BUCKETS } else { INVALIDATE_ALL };
    template
        .replace("{reason}", reason)
        .replace("{model}", &name)
        .replace("{expression}", bucket.map_or("", |bucket| bucket.expression.as_str()))
}

fn wanted_triggers(node: &Node<'_>, function: &str) -> Vec<(Trigger, String)> {
    let bucket = node.model.and_then(|model| model.bucket.as_ref());
    let tables = node.bases.iter().filter(|base| base.kind == BaseKind::Table && base.can_have_triggers);
    tables
        .flat_map(|base| {
            let of_bucket =
                base.schema == "facts" && bucket.is_some_and(|bucket| bucket.model == base.name);
            let argument = if of_bucket { BUCKETS } else { EVERYTHING };
            EVENTS.iter().map(move |(event, rows)| {
                let name = bounded(&format!("{function}_{event}"));
                let create = format!(
                    "create or replace trigger {} after {event} on {} {rows} for each statement execute function pipeline.{}({});\n",
                    identifier(&name),
                    base.qualified(),
                    identifier(function),
                    literal(argument),
                );
                let trigger = Trigger {
                    relation: base.relation,
                    on: base.qualified(),
                    function: function.to_owned(),
                    name,
                    argument: argument.to_owned(),
                    is_enabled: true,
                };
                (trigger, create)
            })
        })
        .collect()
}

/// Whether every change of the relations that `node` reads invalidates it. Otherwise it is recomputed at every refresh. A
/// materialized view has no triggers: its refresh invalidates the relations that read it.
pub fn has_all_triggers(node: &Node<'_>, triggers: &[Trigger]) -> bool {
    let function = function_name(&node.name);
    !node.bases.is_empty()
        && node.bases.iter().all(|base| match base.kind {
            BaseKind::View | BaseKind::MaterializedView => true,
            BaseKind::Other => false,
            BaseKind::Table => {
                let on_it = |trigger: &&Trigger| {
                    trigger.relation == base.relation && trigger.function == function && trigger.is_enabled
                };
                triggers.iter().filter(on_it).count() == EVENTS.len()
            }
        })
}
