//! Deletes the facts of files that were replaced.
//!
//! A newer version of a file hides the older one's events, and some of those may have been transformed before. Their
//! facts are deleted; and where such a fact had won over another event's with the same key, that event's comes back: the
//! model runs again over the source's other events, for the deleted keys alone. It reads the source's history, and happens
//! when a file is replaced.

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

/// So many batches of the history a statement.
const CHUNK: usize = 16;

/// The sources and event types with batches whose facts have to be taken back.
pub async fn waiting(connection: &mut Connection, deadline: Instant) -> Result<Vec<(String, String)>> {
    let rows = connection
        .run_statement("look for replaced batches", deadline, async |session| {
            session
                .query_typed(WAITING, &[])
                .await
                .map_err(|error| from_postgres("look for replaced batches", error))
        })
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Takes back the facts of the replaced batches of a source and event type. How many batches.
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

/// Deletes the facts that `table` has of the events of `batches`, and derives again what those had covered. Rows deleted.
pub async fn delete_facts(
    transaction: &Transaction<'_>,
    model: &Model,
    table: &str,
    columns: &[String],
    batches: &[EventRange],
) -> Result<u64> {
    let failed = |error| from_postgres(&format!("take back facts of {}", model.name), error);
    // Qualified: a model may be called so too.
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
    // The deleted keys stay in a table of this transaction's own: their types are the fact's.
    transaction
        .batch_execute(&format!(
            "create temporary table deleted_keys on commit drop as select {key} from {table} with no data"
        ))
        .await
        .map_err(failed)?;
    let parameters = Parameters::new(batches);
    let deleted_count = transaction
        .execute_typed(
            &format!("with gone as ({statement}) insert into {deleted} select * from gone"),
            &parameters.typed(),
        )
        .await
        .map_err(failed)?;
    if !model.key.is_empty() && deleted_count > 0 {
        derive_again(transaction, model, table, columns, deleted).await?;
    }
    transaction.batch_execute(&format!("drop table {deleted}")).await.map_err(failed)?;
    Ok(deleted_count)
}

async fn derive_again(
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
            // What is refused here was refused when it was transformed, and has its dead letter.
            apply(transaction, model, &statement, chunk, u64::MAX).await?;
        }
    }
    Ok(())
}

/// The whole batches that `sql` finds for a source and, where it is given, an event type.
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
