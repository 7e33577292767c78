//! The days that events are stored in, made ahead.

use millrace::Result;
use millrace::database::failure::from_postgres;
use tokio_postgres::Client;

use super::finding::{Finding, psql};

const CHECK: &str = "partitions";
const MISSING_PARTITIONS: &str = include_str!("queries/missing_partitions.sql");

/// Whether today's partition and those of the next two days are there. One that is not is made by the first batch that needs
/// it, under a lock that the others wait for.
pub async fn ahead(client: &Client) -> Result<Vec<Finding>> {
    let rows = client
        .query(MISSING_PARTITIONS, &[])
        .await
        .map_err(|error| from_postgres("look for the partitions of staging.events", error))?;
    let days: Vec<&str> = rows.iter().map(|row| row.get("day")).collect();
    if days.is_empty() {
        return Ok(vec![Finding::ok(CHECK, "today's and the next two days' are there")]);
    }
    let found = format!("staging.events has no partition for {}", days.join(", "));
    Ok(vec![Finding::problem(CHECK, found, psql("select staging.ensure_partitions_ahead(7)"))])
}
