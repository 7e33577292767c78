//! The columns of a query and their exact types: PostgreSQL creates an empty table from the query.

use millrace::Result;
use millrace::database::failure::from_postgres;
use millrace::{Code, Error, Kind};
use tokio_postgres::Transaction;
use tokio_postgres::error::ErrorPosition;

use crate::columns::{RelationColumn, columns};
use crate::model::{Model, ModelKind};
use crate::sql::relation;

/// Creates an empty table `name` in `facts` with the columns of the query.
pub async fn create(transaction: &Transaction<'_>, model: &Model, name: &str) -> Result<Vec<RelationColumn>> {
    let table = relation(name);
    let query = &model.query;
    // Select only the query, so that it determines the names of the columns.
    let statement = match model.kind {
        ModelKind::Fact => format!(
            "create table {table} as
with batch as (select id, source, event_type, payload, received_at, batch_id from staging.events)
select * from (
{query}
) as query
with no data"
        ),
        _ => format!("create table {table} as select * from (\n{query}\n) as query with no data"),
    };
    transaction.batch_execute(&statement).await.map_err(|error| {
        let place = line_of(&error, &statement, model)
            .map_or_else(|| model.file.clone(), |line| format!("{}:{line}", model.file));
        from_postgres(&format!("{place}: the query"), error)
    })?;
    let columns = columns(transaction, name).await?;
    if columns.is_empty() {
        return Err(Error::new(Kind::Config, format!("{}: the query returns no columns", model.file)));
    }
    if let Some(nameless) = columns.iter().position(|column| column.name == "?column?") {
        let message =
            format!("{}: column {} of the query has no name: write `as …`", model.file, nameless + 1);
        return Err(Error::new(Kind::Config, message).with_code(Code::ModelColumnUnnamed));
    }
    if let Some(missing) = model.key.iter().find(|key| !columns.iter().any(|column| column.name == **key)) {
        let message = format!("{}: the key names {missing}, which the query does not make", model.file);
        return Err(Error::new(Kind::Config, message).with_code(Code::ModelKeyUnknown));
    }
    Ok(columns)
}

/// The line of the model's file that a PostgreSQL error refers to, if the error has a position.
fn line_of(error: &tokio_postgres::Error, statement: &str, model: &Model) -> Option<usize> {
    let ErrorPosition::Original(position) = error.as_db_error()?.position()? else { return None };
    // A position counts characters, from 1.
    let at = statement.char_indices().nth(*position as usize - 1)?.0;
    let inside =
        at.checked_sub(statement.find(&model.query)?).filter(|inside| *inside < model.query.len())?;
    Some(model.query_line + model.query[..inside].matches('\n').count())
}
