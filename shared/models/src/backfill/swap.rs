//! Replaces a table with its rebuilt version.

use millrace::database::failure::from_postgres;
use millrace::{Code, Error, Kind, Result};
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::columns;
use crate::facts::ranges::EventRange;
use crate::model::Model;
use crate::project::Project;
use crate::quarantine;
use crate::sql::{identifier, relation};
use crate::transform::retract;

const LOCK: &str = include_str!("lock_model.sql");
const REPLACED: &str = include_str!("replaced.sql");
const DEPENDANTS: &str = include_str!("dependants.sql");
const DELETE: &str = include_str!("delete_model.sql");
const KEY_NAME: &str = include_str!("key_name.sql");

/// Waits for claims that write the model's table, and blocks new ones.
pub async fn lock(transaction: &Transaction<'_>, model: &Model) -> Result<()> {
    transaction
        .query_typed(LOCK, &[(&model.name, Type::TEXT)])
        .await
        .map_err(|error| from_postgres("wait for claims of a model", error))?;
    Ok(())
}

/// Deletes facts of batches that were superseded during the rebuild.
pub async fn retract_replaced(
    transaction: &Transaction<'_>,
    model: &Model,
    backfill_id: Uuid,
    beside: &str,
) -> Result<()> {
    let rows = transaction
        .query_typed(REPLACED, &[(&backfill_id, Type::UUID)])
        .await
        .map_err(|error| from_postgres("list superseded batches of a backfill", error))?;
    let ranges: Vec<EventRange> = rows.iter().map(|row| EventRange::whole(row.get(0), row.get(1))).collect();
    if ranges.is_empty() {
        return Ok(());
    }
    let columns = columns::query_columns(transaction, beside).await?;
    retract::delete_facts(transaction, model, &relation(beside), &columns, &ranges).await?;
    Ok(())
}

/// Replaces the table of the model by the table `beside`. Views of models that read the table are dropped, and the next deployment
/// creates them again. Views that no model created are an error.
pub async fn swap(
    transaction: &Transaction<'_>,
    project: &Project,
    model: &Model,
    beside: &str,
) -> Result<()> {
    let failed = |error| from_postgres("swap a rebuilt table", error);
    let dependants =
        transaction.query_typed(DEPENDANTS, &[(&model.name, Type::TEXT)]).await.map_err(failed)?;
    let mut ours = Vec::new();
    let mut foreign = Vec::new();
    for row in &dependants {
        let (name, kind): (String, &str) = (row.get("name"), row.get("kind"));
        match row.get::<_, &str>("schema") == "facts" && project.model(&name).is_some() {
            true => ours.push((name, kind.to_owned())),
            false => foreign.push(row.get::<_, String>("shown")),
        }
    }
    if !foreign.is_empty() {
        return Err(foreign_dependants(model, &foreign));
    }
    for (name, kind) in &ours {
        let what = if kind == "m" { "materialized view" } else { "view" };
        let statement = format!("drop {what} if exists {} cascade", relation(name));
        transaction.batch_execute(&statement).await.map_err(failed)?;
        transaction.execute_typed(DELETE, &[(&name, Type::TEXT)]).await.map_err(failed)?;
    }
    let table = relation(&model.name);
    let statement = format!(
        "drop table if exists {table}; alter table {} rename to {}",
        relation(beside),
        identifier(&model.name)
    );
    transaction.batch_execute(&statement).await.map_err(failed)?;
    // The rebuilt table may contain facts of events that were quarantined before.
    let mut batches = quarantine::delete_model(transaction, &model.name).await?;
    batches.extend(quarantine::rename(transaction, beside, &model.name).await?);
    quarantine::recount(transaction, &batches).await?;
    let key = transaction.query_typed(KEY_NAME, &[(&model.name, Type::TEXT)]).await.map_err(failed)?;
    if let Some(row) = key.first() {
        let statement = format!(
            "alter table {table} rename constraint {} to {}",
            identifier(row.get(0)),
            identifier(&format!("{}_pkey", model.name))
        );
        transaction.batch_execute(&statement).await.map_err(failed)?;
    }
    Ok(())
}

/// The error for a model that cannot be swapped because views that no model makes read it.
fn foreign_dependants(model: &Model, dependants: &[String]) -> Error {
    Error::new(
        Kind::Config,
        format!(
            "facts.{} cannot be replaced: {}, which no model created, would be dropped; drop it yourself, or make it a model",
            model.name,
            dependants.join(", ")
        ),
    )
    .with_code(Code::ModelHasDependants)
}
