//! Runs statements, and quotes names and values in generated SQL. Values are bound where a statement accepts parameters.

use std::time::Instant;

use millrace::Result;
use millrace::database::Connection;
use millrace::database::failure::from_postgres;
use postgres_protocol::escape::{escape_identifier, escape_literal};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Row, Transaction};

/// A name, quoted.
pub fn identifier(name: &str) -> String {
    escape_identifier(name)
}

/// A text value, quoted.
pub fn literal(text: &str) -> String {
    // The driver adds a space before a literal with a backslash.
    escape_literal(text).trim_start().to_owned()
}

/// Names, quoted, with commas between.
pub fn identifiers<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    names.into_iter().map(identifier).collect::<Vec<_>>().join(", ")
}

/// The relation of a model: `facts."orders"`.
pub fn relation(model: &str) -> String {
    format!("facts.{}", identifier(model))
}

/// A parameter of a statement, with its type.
pub type Parameter<'p> = (&'p (dyn ToSql + Sync), Type);

/// A statement, and the operation that it is in errors: "claim batches".
#[derive(Debug, Clone, Copy)]
pub struct Statement<'s> {
    doing: &'s str,
    sql: &'s str,
}

impl<'s> Statement<'s> {
    pub const fn new(doing: &'s str, sql: &'s str) -> Self {
        Statement { doing, sql }
    }

    /// Runs the statement and returns its rows.
    pub async fn query(
        &self,
        transaction: &Transaction<'_>,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>> {
        let rows = transaction.query_typed(self.sql, parameters).await;
        rows.map_err(|error| from_postgres(self.doing, error))
    }

    /// Runs the statement and returns the number of its rows.
    pub async fn execute(&self, transaction: &Transaction<'_>, parameters: &[Parameter<'_>]) -> Result<u64> {
        let row_count = transaction.execute_typed(self.sql, parameters).await;
        row_count.map_err(|error| from_postgres(self.doing, error))
    }
}

impl Statement<'static> {
    /// Runs the statement in its own transaction and returns its rows.
    pub async fn query_alone(
        &self,
        connection: &mut Connection,
        deadline: Instant,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>> {
        connection
            .run_statement(self.doing, deadline, async |session| {
                let rows = session.query_typed(self.sql, parameters).await;
                rows.map_err(|error| from_postgres(self.doing, error))
            })
            .await
    }
}

/// Runs statements without parameters. `doing` is the operation in errors.
pub async fn batch_execute(transaction: &Transaction<'_>, doing: &str, sql: &str) -> Result<()> {
    transaction.batch_execute(sql).await.map_err(|error| from_postgres(doing, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_inside_names_and_values_are_doubled() {
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\b"), "E'a\\\\b'");
        assert_eq!(identifiers(["a", "B"]), "\"a\", \"B\"");
        assert_eq!(relation("orders"), "facts.\"orders\"");
    }
}
