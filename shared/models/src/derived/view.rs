//! Creates a view or materialized view, or replaces it to match its model.

use millrace::database::failure::postgres_error;
use millrace::{Code, Error, Kind, Result};
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use super::catalog::nodes;
use super::invalidate::invalidate_relation;
use crate::model::{Model, ModelKind};
use crate::project::Project;
use crate::registry::record;
use crate::sql::{self, Statement, identifier, identifiers, literal, relation};

const EXISTING: Statement = Statement::new("look for a view in facts", include_str!("existing_relation.sql"));
const DEPENDANTS: Statement = Statement::new("read the dependants of a view", include_str!("dependants.sql"));
/// The SQLSTATE when a view would be replaced by one with other columns.
const OTHER_COLUMNS: &str = "42P16";

/// Creates the view of `model`, or replaces it to match. Recreates the models that read it if necessary.
pub async fn create_or_replace(
    transaction: &Transaction<'_>,
    project: &Project,
    model: &Model,
) -> Result<()> {
    let rows = EXISTING.query(transaction, &[(&model.name, Type::TEXT)]).await?;
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
                kind if kind == wanted && fingerprint == Some(model.fingerprint.as_str()) => {}
                "v" if wanted == "v" && replace(transaction, model).await? => {
                    invalidate_above(transaction, project, model).await?;
                }
                kind @ ("m" | "v") => {
                    recreate(transaction, project, model, kind == "m").await?;
                    invalidate_above(transaction, project, model).await?;
                }
                _ => return Err(taken(model)),
            }
        }
    }
    describe(transaction, model).await?;
    record(transaction, model).await
}

/// Invalidates the relations that read the view, because no trigger fires when its query changes.
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
        "facts.{} exists and was not created by {}: rename one of them, or drop the existing relation",
        model.name, model.file
    );
    Error::new(Kind::Config, message).with_code(Code::ModelNameTaken)
}

/// Creates the view as `name`; a materialized view with or without its rows.
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
        // The first refresh computes its rows.
        invalidate_relation(transaction, &model.name).await?;
    }
    Ok(())
}

/// Replaces the view in place. Returns false if its columns changed.
async fn replace(transaction: &Transaction<'_>, model: &Model) -> Result<bool> {
    run(transaction, model, "savepoint replace_view").await?;
    let statement = format!("create or replace view {} as\n{}", relation(&model.name), model.query);
    match run(transaction, model, &statement).await {
        Ok(()) => Ok(true),
        Err(error) if postgres_error(&error).is_some_and(|refusal| refusal.sqlstate == OTHER_COLUMNS) => {
            run(transaction, model, "rollback to savepoint replace_view").await?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Drops and recreates the view and the models that read it. Relations of a user that read it are never dropped.
async fn recreate(
    transaction: &Transaction<'_>,
    project: &Project,
    model: &Model,
    was_materialized: bool,
) -> Result<()> {
    let rows = DEPENDANTS.query(transaction, &[(&model.name, Type::TEXT)]).await?;
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
            "facts.{} must be recreated and {} reads it: drop the dependants, deploy, and create them again",
            model.name,
            theirs.join(", ")
        );
        return Err(Error::new(Kind::Config, message).with_code(Code::ModelHasDependants));
    }
    // Create it under another name, so that readers only wait for the rename.
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

/// Creates the indexes and comments.
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
    sql::batch_execute(transaction, &format!("{}: the query", model.file), statement).await
}
