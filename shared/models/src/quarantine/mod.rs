//! Events that a model refused: `pipeline.quarantine`.
//!
//! The transaction that refuses an event inserts its row, before the dead letter is sent. The transaction in which the model
//! accepts the event deletes it: a redrive, a rebuild, or a replacement of the file. Therefore it is known for every
//! dead letter whether its event is still quarantined, however often the dead letter is redriven.

use millrace::Result;
use millrace::dead_letter::DeadLetter;
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::sql::{Parameter, Statement};

const RECORD: Statement = Statement::new("record quarantined events", include_str!("record.sql"));
const RECOUNT: Statement = Statement::new("recount quarantined events", include_str!("recount.sql"));
const DELETE: Statement = Statement::new("delete quarantined events of a model", include_str!("delete.sql"));
const DELETE_BATCHES: Statement =
    Statement::new("delete quarantined events of superseded batches", include_str!("delete_batches.sql"));
const DELETE_MODEL: Statement =
    Statement::new("delete the quarantined events of a model", include_str!("delete_model.sql"));
const RENAME: Statement = Statement::new("move quarantined events", include_str!("rename.sql"));

/// Records that `model`, or its rebuild, refused the events of `dead_letters`.
pub async fn record(transaction: &Transaction<'_>, model: &str, dead_letters: &[DeadLetter]) -> Result<()> {
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
    let parameters: [Parameter<'_>; 5] = [
        (&model, Type::TEXT),
        (&batches, Type::UUID_ARRAY),
        (&events, Type::INT8_ARRAY),
        (&ids, Type::UUID_ARRAY),
        (&sqlstates, Type::TEXT_ARRAY),
    ];
    RECORD.execute(transaction, &parameters).await?;
    Ok(())
}

/// Deletes the quarantined events of `model` in `batches`, because the model is about to run over them again.
pub async fn delete(transaction: &Transaction<'_>, model: &str, batches: &[Uuid]) -> Result<()> {
    DELETE.execute(transaction, &[(&model, Type::TEXT), (&batches, Type::UUID_ARRAY)]).await?;
    Ok(())
}

/// Deletes the quarantined events of `batches`, because their file was replaced.
pub async fn delete_batches(transaction: &Transaction<'_>, batches: &[Uuid]) -> Result<()> {
    DELETE_BATCHES.execute(transaction, &[(&batches, Type::UUID_ARRAY)]).await?;
    Ok(())
}

/// Deletes the quarantined events of `model`, and returns their batches.
pub async fn delete_model(transaction: &Transaction<'_>, model: &str) -> Result<Vec<Uuid>> {
    let rows = DELETE_MODEL.query(transaction, &[(&model, Type::TEXT)]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Moves the quarantined events of `from` to `to`, and returns their batches.
pub async fn rename(transaction: &Transaction<'_>, from: &str, to: &str) -> Result<Vec<Uuid>> {
    let rows = RENAME.query(transaction, &[(&from, Type::TEXT), (&to, Type::TEXT)]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Sets the counts of processed batches from their quarantined events.
pub async fn recount(transaction: &Transaction<'_>, batches: &[Uuid]) -> Result<()> {
    RECOUNT.execute(transaction, &[(&batches, Type::UUID_ARRAY)]).await?;
    Ok(())
}
