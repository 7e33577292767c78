//! Replaces a table with its rebuilt version.

use millrace::{Code, Error, Kind, Result};
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::facts::ranges::EventRange;
use crate::facts::run::FactTable;
use crate::model::Model;
use crate::project::Project;
use crate::quarantine;
use crate::sql::{self, Statement, identifier, relation};

const REPLACED: Statement =
    Statement::new("list superseded batches of a backfill", include_str!("replaced.sql"));
const DEPENDANTS: Statement = Statement::new("swap a rebuilt table", include_str!("dependants.sql"));
const DELETE: Statement = Statement::new("swap a rebuilt table", include_str!("delete_model.sql"));
const KEY_NAME: Statement = Statement::new("swap a rebuilt table", include_str!("key_name.sql"));

/// Deletes facts of batches that were superseded during the rebuild.
pub async fn retract_replaced(
    transaction: &Transaction<'_>,
    model: &Model,
    backfill_id: Uuid,
    beside: &str,
) -> Result<()> {
    let rows = REPLACED.query(transaction, &[(&backfill_id, Type::UUID)]).await?;
    if !rows.is_empty() {
        let table = FactTable::read(transaction, model, beside.to_owned()).await?;
        table.retract(transaction, &EventRange::read(&rows)).await?;
    }
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
    let doing = "swap a rebuilt table";
    let dependants = DEPENDANTS.query(transaction, &[(&model.name, Type::TEXT)]).await?;
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
        sql::batch_execute(transaction, doing, &statement).await?;
        DELETE.execute(transaction, &[(&name, Type::TEXT)]).await?;
    }
    let table = relation(&model.name);
    let statement = format!(
        "drop table if exists {table}; alter table {} rename to {}",
        relation(beside),
        identifier(&model.name)
    );
    sql::batch_execute(transaction, doing, &statement).await?;
    // The rebuilt table may contain facts of events that were quarantined before.
    let mut batches = quarantine::delete_model(transaction, &model.name).await?;
    batches.extend(quarantine::rename(transaction, beside, &model.name).await?);
    quarantine::recount(transaction, &batches).await?;
    let key = KEY_NAME.query(transaction, &[(&model.name, Type::TEXT)]).await?;
    if let Some(row) = key.first() {
        let statement = format!(
            "alter table {table} rename constraint {} to {}",
            identifier(row.get(0)),
            identifier(&format!("{}_pkey", model.name))
        );
        sql::batch_execute(transaction, doing, &statement).await?;
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
