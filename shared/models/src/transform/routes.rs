//! The routes with batches to process.

use std::time::Instant;

use millrace::Result;
use millrace::database::Connection;

use crate::sql::Statement;

const UNPROCESSED: Statement = Statement::new("look for unprocessed batches", include_str!("waiting.sql"));
const SUPERSEDED: Statement = Statement::new("list superseded batches", include_str!("superseded.sql"));

/// A source and an event type.
type SourceAndType = (String, String);

/// The routes with unprocessed batches, the one that waits longest first.
pub async fn unprocessed(connection: &mut Connection, deadline: Instant) -> Result<Vec<SourceAndType>> {
    let rows = UNPROCESSED.query_alone(connection, deadline, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// The routes with batches whose facts must be retracted.
pub async fn superseded(connection: &mut Connection, deadline: Instant) -> Result<Vec<SourceAndType>> {
    let rows = SUPERSEDED.query_alone(connection, deadline, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
