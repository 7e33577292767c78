//! Touch triggers: a change below a derived relation says, in its own transaction, what has to be computed again.

use millrace::Result;
use millrace::database::failure::from_postgres;
use tokio_postgres::Transaction;

use super::Change;
use super::catalog::{BaseKind, Function, Node, Trigger, function_name, functions, triggers};
use crate::project::Project;
use crate::sql::{bounded, identifier, literal};

const FUNCTION: &str = include_str!("touch_function.sql");
const TOUCH_ALL: &str = include_str!("touch_all.sql");
const TOUCH_BUCKETS: &str = include_str!("touch_buckets.sql");
const TOUCH: &str = include_str!("touch_everything.sql");
const FORGET: &str = include_str!("forget_touched.sql");

/// What a trigger fires on, and the rows that its function sees.
const EVENTS: [(&str, &str); 4] = [
    ("insert", "referencing new table as new_rows"),
    ("update", "referencing old table as old_rows new table as new_rows"),
    ("delete", "referencing old table as old_rows"),
    ("truncate", ""),
];
/// Arguments of triggers.
const BUCKETS: &str = "buckets";
const EVERYTHING: &str = "everything";

/// All of the derived relation `model` is to be computed again.
pub async fn touch_everything(transaction: &Transaction<'_>, model: &str) -> Result<()> {
    transaction
        .execute(TOUCH, &[&model])
        .await
        .map_err(|error| from_postgres("touch a derived relation", error))?;
    Ok(())
}

/// Makes the triggers what `nodes` want. A relation whose triggers were made or changed is touched as a whole: nobody
/// watched until now.
pub(super) async fn deploy(
    transaction: &Transaction<'_>,
    project: &Project,
    nodes: &[Node<'_>],
    changes: &mut Vec<Change>,
) -> Result<()> {
    let (existing_functions, existing_triggers) = (functions(transaction).await?, triggers(transaction).await?);
    for node in nodes {
        let function = Function { name: function_name(&node.name), source: body(node) };
        let mut statements = String::new();
        if !existing_functions.contains(&function) {
            statements += &FUNCTION
                .replace("{function}", &identifier(&function.name))
                .replace("{body}", &literal(&function.source));
        }
        let wanted = wanted_triggers(node, &function.name);
        for (trigger, create) in &wanted {
            if !existing_triggers.contains(trigger) {
                statements += create;
            }
        }
        let fresh = !statements.is_empty();
        for trigger in existing_triggers.iter().filter(|trigger| trigger.function == function.name) {
            let same = |other: &Trigger| other.relation == trigger.relation && other.name == trigger.name;
            if !wanted.iter().any(|(other, _)| same(other)) {
                statements += &drop_trigger(transaction, trigger).await?;
            }
        }
        if statements.is_empty() {
            continue;
        }
        transaction
            .batch_execute(&statements)
            .await
            .map_err(|error| from_postgres(&format!("watch what facts.{} is computed from", node.name), error))?;
        if fresh {
            touch_everything(transaction, &node.name).await?;
        }
        changes.push(Change::new(&node.name, "watches what it is computed from"));
    }
    drop_unwanted(transaction, project, nodes, &existing_functions, changes).await
}

/// Functions whose derived relation is gone take their triggers along. Those of a broken file stay until it is mended.
async fn drop_unwanted(
    transaction: &Transaction<'_>,
    project: &Project,
    nodes: &[Node<'_>],
    existing: &[Function],
    changes: &mut Vec<Change>,
) -> Result<()> {
    let kept: Vec<String> = nodes
        .iter()
        .map(|node| function_name(&node.name))
        .chain(project.broken.iter().map(|broken| function_name(&broken.name)))
        // Not made yet, or not any more: what touches it must not be lost meanwhile.
        .chain(project.models.iter().map(|model| function_name(&model.name)))
        .collect();
    for function in existing.iter().filter(|function| !kept.contains(&function.name)) {
        let sql = format!("drop function pipeline.{} cascade", identifier(&function.name));
        transaction
            .batch_execute(&sql)
            .await
            .map_err(|error| from_postgres("drop the triggers of a derived relation that is gone", error))?;
        let name = function.name.trim_start_matches("touch_");
        transaction
            .execute(FORGET, &[&name])
            .await
            .map_err(|error| from_postgres("forget what touched a derived relation that is gone", error))?;
        changes.push(Change::new(name, "is not watched any more"));
    }
    Ok(())
}

/// The source of the node's function. It begins with what would make the old rows wrong when it changes.
fn body(node: &Node<'_>) -> String {
    let name = literal(&node.name);
    let bucket = node.model.and_then(|model| model.bucket.as_ref());
    let reason = node.model.map_or("made by hand", |model| model.fingerprint.as_str());
    let template = if bucket.is_some() { TOUCH_BUCKETS } else { TOUCH_ALL };
    template
        .replace("{reason}", reason)
        .replace("{model}", &name)
        .replace("{expression}", bucket.map_or("", |bucket| bucket.expression.as_str()))
}

fn wanted_triggers(node: &Node<'_>, function: &str) -> Vec<(Trigger, String)> {
    let bucket = node.model.and_then(|model| model.bucket.as_ref());
    let watched =
        node.bases.iter().filter(|base| base.kind == BaseKind::Table && base.can_be_watched);
    watched
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

async fn drop_trigger(transaction: &Transaction<'_>, trigger: &Trigger) -> Result<String> {
    let row = transaction
        .query_one("select $1::oid::regclass::text", &[&trigger.relation])
        .await
        .map_err(|error| from_postgres("name a relation", error))?;
    let relation: &str = row.get(0);
    Ok(format!("drop trigger {} on {relation};\n", identifier(&trigger.name)))
}

/// Every change of what `node` is computed from touches it; otherwise it has to be computed again every time. A
/// materialized view below it changes by our own hand, and its refresh touches what is above.
pub fn is_watched(node: &Node<'_>, triggers: &[Trigger]) -> bool {
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
