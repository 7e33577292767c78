//! Events that a model refused: `pipeline.quarantine`.
//!
//! The transaction that refuses an event inserts its row, before the dead letter is sent. The transaction in which the model
//! accepts the event deletes it: a redrive, a rebuild, or a replacement of the file. Therefore it is known for every
//! dead letter whether its event is still quarantined, however often the dead letter is redriven.

use millrace::Result;
use millrace::database::failure::from_postgres;
use millrace::dead_letter::DeadLetter;
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;
use uuid::Uuid;

const RECORD: &str = include_str!("record.sql");
const RECOUNT: &str = include_str!("recount.sql");
const DELETE: &str = include_str!("delete.sql");
const DELETE_BATCHES: &str = include_str!("delete_batches.sql");
const DELETE_MODEL: &str = include_str!("delete_model.sql");
const RENAME: &str = include_str!("rename.sql");

/// Records that `model`, or its rebuild, refused the events of `dead_letters`.
pub async fn record(transaction: &Transaction<'_>, model: &str, dead_letters: &[&DeadLetter]) -> Result<()> {
    if dead_letters.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = dead_letters.iter().map(|dead_letter| dead_letter.id).collect();
    let batches: Vec<Option<Uuid>> =
        dead_letters.iter().map(|dead_letter| dead_letter.origin.batch_id).collect();
    let events: Vec<Option<i64>> =
        dead_letters.iter().map(|dead_letter| dead_letter.origin.event_id).collect();
    let sqlstates: Vec<Option<&str>> =
        dead_letters.iter().map(|dead_letter| dead_letter.reason.sqlstate.as_deref()).collect();
    transaction
        .execute_typed(
            RECORD,
            &[
                (&model, Type::TEXT),
                (&batches, Type::UUID_ARRAY),
                (&events, Type::INT8_ARRAY),
                (&ids, Type::UUID_ARRAY),
                (&sqlstates, Type::TEXT_ARRAY),
            ],
        )
        .await
        .map_err(|error| from_postgres("record quarantined events", error))?;
    Ok(())
}

/// Deletes the quarantined events of `model` in `batches`, because the model is about to run over them again.
pub async fn delete(transaction: &Transaction<'_>, model: &str, batches: &[Uuid]) -> Result<()> {
    transaction
        .execute_typed(DELETE, &[(&model, Type::TEXT), (&batches, Type::UUID_ARRAY)])
        .await
        .map_err(|error| from_postgres("delete quarantined events of a model", error))?;
    Ok(())
}

/// Deletes the quarantined events of `batches`, because their file was replaced.
pub async fn delete_batches(transaction: &Transaction<'_>, batches: &[Uuid]) -> Result<()> {
    transaction
        .execute_typed(DELETE_BATCHES, &[(&batches, Type::UUID_ARRAY)])
        .await
        .map_err(|error| from_postgres("delete quarantined events of superseded batches", error))?;
    Ok(())
}

/// Deletes the quarantined events of `model`, and returns their batches.
pub async fn delete_model(transaction: &Transaction<'_>, model: &str) -> Result<Vec<Uuid>> {
    batches(transaction, DELETE_MODEL, &[model]).await
}

/// Moves the quarantined events of `from` to `to`, and returns their batches.
pub async fn rename(transaction: &Transaction<'_>, from: &str, to: &str) -> Result<Vec<Uuid>> {
    batches(transaction, RENAME, &[from, to]).await
}

async fn batches(transaction: &Transaction<'_>, statement: &str, names: &[&str]) -> Result<Vec<Uuid>> {
    let parameters: Vec<_> = names.iter().map(|name| (name as _, Type::TEXT)).collect();
    let rows = transaction
        .query_typed(statement, &parameters)
        .await
        .map_err(|error| from_postgres("update the quarantined events of a model", error))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Sets the counts of processed batches from their quarantined events.
pub async fn recount(transaction: &Transaction<'_>, batches: &[Uuid]) -> Result<()> {
    transaction
        .execute_typed(RECOUNT, &[(&batches, Type::UUID_ARRAY)])
        .await
        .map_err(|error| from_postgres("recount quarantined events", error))?;
    Ok(())
}
