//! Checks the partitions of the next days.

use millrace::Result;
use millrace::database::failure::from_postgres;
use tokio_postgres::Client;

use super::finding::{Finding, psql};

const CHECK: &str = "partitions";
const MISSING_PARTITIONS: &str = include_str!("queries/missing_partitions.sql");

/// Checks that the partitions of today and the next two days exist. The first batch of a day creates a missing partition, while other
/// batches wait for its lock.
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
