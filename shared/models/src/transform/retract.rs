//! Deletes the facts of files that were replaced.
//!
//! A newer version of a file supersedes the batches of the older version. If these were already transformed, their facts are deleted.
//! Another event with the same key may have lost to a deleted fact, so the model runs again over the source's other events, for the
//! deleted keys only. This reads all events of the source, and only happens when a file is replaced.

use std::time::Instant;

use millrace::Result;
use millrace::database::Connection;
use millrace::database::failure::from_postgres;
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::claim::Claim;
use crate::facts::apply::apply;
use crate::facts::ranges::{EventRange, Parameters};
use crate::facts::statement;
use crate::model::Model;
use crate::runs::{self, Activity, Done};
use crate::sql::{identifiers, relation};
use crate::{quarantine, work};

const WAITING: &str = include_str!("superseded.sql");
const LOCK: &str = include_str!("lock_superseded.sql");
const CURRENT: &str = include_str!("current_batches.sql");
const MARK: &str = include_str!("mark_retracted.sql");

/// The number of batches per statement.
const CHUNK: usize = 16;

/// The sources and event types with batches whose facts must be retracted.
pub async fn waiting(connection: &mut Connection, deadline: Instant) -> Result<Vec<(String, String)>> {
    let rows = connection
        .run_statement("list superseded batches", deadline, async |session| {
            session
                .query_typed(WAITING, &[])
                .await
                .map_err(|error| from_postgres("list superseded batches", error))
        })
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Deletes the facts of the superseded batches of a source and event type. Returns the number of batches.
pub async fn retract(
    connection: &mut Connection,
    claim: &Claim<'_>,
    source: &str,
    event_type: &str,
    deadline: Instant,
) -> Result<u64> {
    connection
        .run_tx("retract", deadline, async |transaction| {
            work::begin(transaction).await?;
            let models: Vec<&Model> = claim.project.facts_for(source, event_type).collect();
            super::claim::lock_models(transaction, &models).await?;
            let batches = ranges(transaction, LOCK, source, Some(event_type)).await?;
            if batches.is_empty() {
                return Ok(0);
            }
            for model in models {
                let started = Instant::now();
                let columns = claim.deployment.catalog.query_columns(&model.name);
                let table = relation(&model.name);
                let row_count = delete_facts(transaction, model, &table, &columns, &batches).await?;
                let done = Done { row_count, duration: started.elapsed(), ..Done::default() };
                runs::count(transaction, claim.run_id, &model.name, Activity::Retract, &done).await?;
            }
            let ids: Vec<Uuid> = batches.iter().map(|range| range.batch_id).collect();
            transaction
                .execute_typed(MARK, &[(&ids, Type::UUID_ARRAY)])
                .await
                .map_err(|error| from_postgres("mark batches as retracted", error))?;
            quarantine::delete_batches(transaction, &ids).await?;
            Ok(batches.len() as u64)
        })
        .await
}

/// Deletes the facts of the events of `batches` from `table`, and recomputes the facts of the deleted keys. Returns the number of
/// deleted rows.
pub async fn delete_facts(
    transaction: &Transaction<'_>,
    model: &Model,
    table: &str,
    columns: &[String],
    batches: &[EventRange],
) -> Result<u64> {
    let failed = |error| from_postgres(&format!("retract facts of {}", model.name), error);
    // Qualified, because a model may have the same name.
    let deleted = "pg_temp.deleted_keys";
    let key = model.key.iter().map(String::as_str);
    let key = if model.key.is_empty() { "true as deleted".to_owned() } else { identifiers(key) };
    let statement = format!(
        "delete from {table} as fact using {claimed}
where fact.{received_at} = e.received_at and fact.{event_id} = e.id
returning {fact_key}",
        claimed = statement::CLAIMED,
        received_at = statement::RECEIVED_AT,
        event_id = statement::EVENT_ID,
        fact_key = if model.key.is_empty() {
            key.clone()
        } else {
            model
                .key
                .iter()
                .map(|name| format!("fact.{}", crate::sql::identifier(name)))
                .collect::<Vec<_>>()
                .join(", ")
        },
    );
    // A temporary table holds the deleted keys, with the types of the fact.
    transaction
        .batch_execute(&format!(
            "create temporary table deleted_keys on commit drop as select {key} from {table} with no data"
        ))
        .await
        .map_err(failed)?;
    let parameters = Parameters::new(batches);
    let deleted_count = transaction
        .execute_typed(
            &format!("with deleted as ({statement}) insert into {deleted} select * from deleted"),
            &parameters.typed(),
        )
        .await
        .map_err(failed)?;
    if !model.key.is_empty() && deleted_count > 0 {
        recompute(transaction, model, table, columns, deleted).await?;
    }
    transaction.batch_execute(&format!("drop table {deleted}")).await.map_err(failed)?;
    Ok(deleted_count)
}

async fn recompute(
    transaction: &Transaction<'_>,
    model: &Model,
    table: &str,
    columns: &[String],
    deleted: &str,
) -> Result<()> {
    let key = identifiers(model.key.iter().map(String::as_str));
    let of_query: Vec<String> =
        model.key.iter().map(|name| format!("q.{}", crate::sql::identifier(name))).collect();
    let only = format!("({}) in (select {key} from {deleted})", of_query.join(", "));
    let statement = statement::insert(model, table, columns, Some(&only));
    for route in &model.routes {
        let ranges = ranges(transaction, CURRENT, &route.source, route.event_type.as_deref()).await?;
        for chunk in ranges.chunks(CHUNK) {
            // An event that is refused here was refused when it was transformed, and has a dead letter.
            apply(transaction, model, &statement, chunk, u64::MAX).await?;
        }
    }
    Ok(())
}

/// The batches that `sql` returns for a source and an optional event type.
async fn ranges(
    transaction: &Transaction<'_>,
    sql: &str,
    source: &str,
    event_type: Option<&str>,
) -> Result<Vec<EventRange>> {
    let rows = transaction
        .query_typed(sql, &[(&source, Type::TEXT), (&event_type, Type::TEXT)])
        .await
        .map_err(|error| from_postgres("list the batches of a source", error))?;
    Ok(rows.iter().map(|row| EventRange::whole(row.get(0), row.get(1))).collect())
}
