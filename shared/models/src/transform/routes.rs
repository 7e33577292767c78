//! The routes with unprocessed events.

use std::time::Instant;

use millrace::Result;
use millrace::database::Connection;
use millrace::database::failure::from_postgres;

use crate::model::Route;

const WAITING: &str = include_str!("waiting.sql");

/// The sources and event types with unprocessed batches, the one that waits longest first.
pub async fn waiting(connection: &mut Connection, deadline: Instant) -> Result<Vec<Route>> {
    let rows = connection
        .run_statement("look for unprocessed batches", deadline, async |session| {
            session
                .query_typed(WAITING, &[])
                .await
                .map_err(|error| from_postgres("look for unprocessed batches", error))
        })
        .await?;
    Ok(rows.iter().map(|row| Route { source: row.get(0), event_type: Some(row.get(1)) }).collect())
}
