//! The columns of relations in `facts`.

use millrace::Result;
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use crate::sql::Statement;

const COLUMNS: Statement = Statement::new("read a relation's columns", include_str!("columns.sql"));

/// The column of a fact with the time at which its event was received.
pub const RECEIVED_AT: &str = "_received_at";
/// The column of a fact with the id of its event.
pub const EVENT_ID: &str = "_event_id";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationColumn {
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
pub async fn columns(transaction: &Transaction<'_>, name: &str) -> Result<Vec<RelationColumn>> {
    let rows = COLUMNS.query(transaction, &[(&name, Type::TEXT)]).await?;
    Ok(rows
        .iter()
        .map(|row| RelationColumn { name: row.get("name"), data_type: row.get("data_type") })
        .collect())
}
