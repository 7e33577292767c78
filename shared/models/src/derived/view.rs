//! Creates a view or materialized view, or replaces it to match its model.

use millrace::database::failure::{from_postgres, refusal};
use millrace::{Code, Error, Kind, Result};
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use super::catalog::nodes;
use super::invalidate::invalidate_relation;
use crate::model::{Kind as ModelKind, Model};
use crate::project::Project;
use crate::registry::record;
use crate::sql::{identifier, identifiers, literal, relation};

const THERE: &str = include_str!("view_there.sql");
const DEPENDANTS: &str = include_str!("dependants.sql");
/// A view cannot be replaced by one with other columns.
const OTHER_COLUMNS: &str = "42P16";

/// Makes the view of `model`, or brings it up to it, and what is made from it where that has to be made again.
pub async fn bring_up(transaction: &Transaction<'_>, project: &Project, model: &Model) -> Result<()> {
    let rows = transaction
        .query_typed(THERE, &[(&model.name, Type::TEXT)])
        .await
        .map_err(|error| from_postgres("look for a view in facts", error))?;
    match rows.first() {
        None => {
            create(transaction, model, &model.name, false).await?;
            invalidate_above(transaction, project, model).await?;
        }
        Some(row) => {
            let fingerprint: Option<&str> = row.get("fingerprint");
            let wanted = if is_materialized(model) { "m" } else { "v" };
            match row.get("kind") {
                "m" | "v" if fingerprint.is_none() => return Err(taken(model)),
                there if there == wanted && fingerprint == Some(model.fingerprint.as_str()) => {}
                "v" if wanted == "v" && replace(transaction, model).await? => {
                    invalidate_above(transaction, project, model).await?;
                }
                there @ ("m" | "v") => {
                    remake(transaction, project, model, there == "m").await?;
                    invalidate_above(transaction, project, model).await?;
                }
                _ => return Err(taken(model)),
            }
        }
    }
    describe(transaction, model).await?;
    record(transaction, model).await
}

/// No trigger tells that the query below is another one.
async fn invalidate_above(transaction: &Transaction<'_>, project: &Project, model: &Model) -> Result<()> {
    for node in nodes(transaction, project).await? {
        if node.bases.iter().any(|base| base.schema == "facts" && base.name == model.name) {
            invalidate_relation(transaction, &node.name).await?;
        }
    }
    Ok(())
}

fn is_materialized(model: &Model) -> bool {
    model.kind == ModelKind::MaterializedView
}

fn taken(model: &Model) -> Error {
    let message = format!(
        "facts.{} is there and is not what {} makes: rename one of them, or drop what is there",
        model.name, model.file
    );
    Error::new(Kind::Config, message).with_code(Code::ModelNameTaken)
}

/// Makes it under that name; a materialized view with or without its rows.
async fn create(transaction: &Transaction<'_>, model: &Model, name: &str, with_data: bool) -> Result<()> {
    let view = relation(name);
    let query = &model.query;
    if !is_materialized(model) {
        return run(transaction, model, &format!("create view {view} as\n{query}")).await;
    }
    let data = if with_data { "with data" } else { "with no data" };
    let key = identifiers(model.key.iter().map(String::as_str));
    run(transaction, model, &format!("create materialized view {view} as\n{query}\n{data}")).await?;
    run(transaction, model, &format!("create unique index on {view} ({key})")).await?;
    if !with_data {
        // The first refresh fills it.
        invalidate_relation(transaction, &model.name).await?;
    }
    Ok(())
}

/// Whether the view could be replaced under those that are made from it.
async fn replace(transaction: &Transaction<'_>, model: &Model) -> Result<bool> {
    run(transaction, model, "savepoint replace_view").await?;
    let statement = format!("create or replace view {} as\n{}", relation(&model.name), model.query);
    match run(transaction, model, &statement).await {
        Ok(()) => Ok(true),
        Err(error) if refusal(&error).is_some_and(|refusal| refusal.sqlstate == OTHER_COLUMNS) => {
            run(transaction, model, "rollback to savepoint replace_view").await?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Drops and recreates the view and the models that read it. Relations of a user that read it are never dropped.
async fn remake(
    transaction: &Transaction<'_>,
    project: &Project,
    model: &Model,
    was_materialized: bool,
) -> Result<()> {
    let rows = transaction
        .query_typed(DEPENDANTS, &[(&model.name, Type::TEXT)])
        .await
        .map_err(|error| from_postgres("look at what is made from a view", error))?;
    let mut above = Vec::new();
    let mut theirs = Vec::new();
    for row in &rows {
        let name: &str = row.get("name");
        match project.model(name).filter(|_| row.get("is_ours")) {
            Some(model) => above.push((model, row.get::<_, bool>("is_materialized"))),
            None => theirs.push(format!("{}.{name}", row.get::<_, &str>("schema"))),
        }
    }
    if !theirs.is_empty() {
        let message = format!(
            "facts.{} has to be made again, and {} is made from it: drop that first, and make it again afterwards",
            model.name,
            theirs.join(", ")
        );
        return Err(Error::new(Kind::Config, message).with_code(Code::ModelHasDependants));
    }
    // Beside, so that readers wait for the swap alone.
    let beside = format!("{}__next", model.name);
    create(transaction, model, &beside, true).await?;
    for (dependant, is_materialized) in above.iter().rev() {
        drop(transaction, dependant, *is_materialized).await?;
    }
    drop(transaction, model, was_materialized).await?;
    let kind = kind(is_materialized(model));
    let rename = format!("alter {kind} {} rename to {}", relation(&beside), identifier(&model.name));
    run(transaction, model, &rename).await?;
    for model in project.models.iter().filter(|model| above.iter().any(|(other, _)| other.name == model.name))
    {
        create(transaction, model, &model.name, true).await?;
        describe(transaction, model).await?;
        record(transaction, model).await?;
    }
    Ok(())
}

async fn drop(transaction: &Transaction<'_>, model: &Model, is_materialized: bool) -> Result<()> {
    run(transaction, model, &format!("drop {} {}", kind(is_materialized), relation(&model.name))).await
}

fn kind(is_materialized: bool) -> &'static str {
    if is_materialized { "materialized view" } else { "view" }
}

/// Indexes and comments.
async fn describe(transaction: &Transaction<'_>, model: &Model) -> Result<()> {
    let view = relation(&model.name);
    for columns in &model.indexes {
        let name = identifier(&super::catalog::bounded(&format!("{}_{}_idx", model.name, columns.join("_"))));
        let columns = identifiers(columns.iter().map(String::as_str));
        run(transaction, model, &format!("create index if not exists {name} on {view} ({columns})")).await?;
    }
    let comment = model.description.as_deref().map_or_else(|| "null".to_owned(), literal);
    let statement = format!("comment on {} {view} is {comment}", kind(is_materialized(model)));
    run(transaction, model, &statement).await?;
    for (column, text) in &model.columns {
        let statement = format!("comment on column {view}.{} is {}", identifier(column), literal(text));
        run(transaction, model, &statement).await?;
    }
    Ok(())
}

async fn run(transaction: &Transaction<'_>, model: &Model, statement: &str) -> Result<()> {
    transaction
        .batch_execute(statement)
        .await
        .map_err(|error| from_postgres(&format!("{}: the query", model.file), error))
}
