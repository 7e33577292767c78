//! The columns of relations in `facts`.

use millrace::Result;
use millrace::database::failure::from_postgres;
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use crate::facts::statement::{EVENT_ID, RECEIVED_AT};

const COLUMNS: &str = include_str!("columns.sql");

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// The type as PostgreSQL writes it: `numeric(12,2)`.
    pub data_type: String,
}

/// Whether a column of a fact table identifies the event and is not from the query.
pub fn is_ours(column: &str) -> bool {
    column == RECEIVED_AT || column == EVENT_ID
}

/// The names of a fact table's columns that its query produces, without those that Millrace adds.
pub async fn query_columns(transaction: &Transaction<'_>, name: &str) -> Result<Vec<String>> {
    let columns = columns(transaction, name).await?;
    Ok(columns.into_iter().map(|column| column.name).filter(|name| !is_ours(name)).collect())
}

/// The columns of a relation in `facts`; empty when the relation does not exist.
pub async fn columns(transaction: &Transaction<'_>, name: &str) -> Result<Vec<Column>> {
    let rows = transaction
        .query_typed(COLUMNS, &[(&name, Type::TEXT)])
        .await
        .map_err(|error| from_postgres("read a relation's columns", error))?;
    Ok(rows.iter().map(|row| Column { name: row.get("name"), data_type: row.get("data_type") }).collect())
}
