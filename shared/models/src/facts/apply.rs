//! Runs the statement of a model over events and isolates the events that it refuses.
//!
//! All events are one statement. If PostgreSQL refuses it because of its data, the events are bisected with savepoints until the
//! refused events are found: k refused events among n take O(k log n) statements. The rows of the other events stay.

use millrace::config::environment::Secret;
use millrace::database::failure::from_postgres;
use millrace::{Code, Error, Kind, Result};
use tokio_postgres::Transaction;
use tokio_postgres::error::DbError;
use uuid::Uuid;

use super::ranges::{EventRange, RangeParameters, RangeSplitter, Split};
use crate::model::Model;

/// With fewer refused events than this, their share does not indicate a faulty model.
const FEW: u64 = 100;

/// An event that a model refuses.
#[derive(Debug)]
pub struct Refused {
    pub batch_id: Uuid,
    pub received_at: std::time::SystemTime,
    pub event_id: i64,
    pub refusal: EventRefusal,
}

/// The error of PostgreSQL for an event.
#[derive(Debug)]
pub struct EventRefusal {
    pub sqlstate: String,
    /// It may quote values of the event, so it cannot be printed and is only written to the dead letter.
    pub message: Secret,
    pub column: Option<String>,
    pub constraint: Option<String>,
}

#[derive(Debug, Default)]
pub struct Applied {
    /// Rows of facts written.
    pub row_count: u64,
    pub refused: Vec<Refused>,
}

impl Model {
    /// The number of refused events among `event_count` above which the model is faulty.
    pub fn most_refused(&self, event_count: u64) -> u64 {
        ((self.max_quarantined_share * event_count as f64) as u64).max(FEW - 1)
    }
}

/// Runs `statement`, made by [`insert`](super::statement::insert) for `model`, over the events of `ranges`.
///
/// # Errors
/// Errors that are not caused by the data; [`Kind::Config`] if the model refuses more than `most_refused` events, because a faulty
/// model must not make dead letters of its events.
pub async fn apply(
    transaction: &Transaction<'_>,
    model: &Model,
    statement: &str,
    ranges: &[EventRange],
    most_refused: u64,
) -> Result<Applied> {
    let mut applied = Applied::default();
    let mut splitter = RangeSplitter::default();
    let mut waiting = vec![ranges.to_vec()];
    while let Some(ranges) = waiting.pop() {
        let refusal = match attempt(transaction, model, statement, &ranges).await? {
            Ok(row_count) => {
                applied.row_count += row_count;
                continue;
            }
            Err(refusal) => refusal,
        };
        match splitter.split(transaction, &ranges).await? {
            Split::Two(first, second) => waiting.extend([second, first]),
            Split::Event(Some(event_id)) => {
                let EventRange { batch_id, received_at, .. } = ranges[0];
                applied.refused.push(Refused { batch_id, received_at, event_id, refusal });
                if applied.refused.len() as u64 > most_refused {
                    return Err(refuses_too_much(model, &applied));
                }
            }
            // The statement fails without any event.
            Split::Event(None) => {
                return Err(Error::new(Kind::Config, format!("{}: {}", model.name, refusal.sqlstate))
                    .with_code(Code::ModelRefused));
            }
        }
    }
    Ok(applied)
}

async fn attempt(
    transaction: &Transaction<'_>,
    model: &Model,
    statement: &str,
    ranges: &[EventRange],
) -> Result<Result<u64, EventRefusal>> {
    let failed = |error| from_postgres(&format!("run the model {}", model.name), error);
    transaction.batch_execute("savepoint attempt").await.map_err(failed)?;
    let parameters = RangeParameters::new(ranges);
    let error = match transaction.execute_typed(statement, &parameters.typed()).await {
        Ok(row_count) => {
            transaction.batch_execute("release savepoint attempt").await.map_err(failed)?;
            return Ok(Ok(row_count));
        }
        Err(error) => error,
    };
    let Some(refusal) = error.as_db_error().filter(|error| is_of_the_data(error.code().code())).map(read)
    else {
        return Err(failed(error));
    };
    transaction.batch_execute("rollback to savepoint attempt").await.map_err(failed)?;
    Ok(Err(refusal))
}

/// Whether the error depends on the row: data exceptions, violated constraints, a subquery with more than one row, exceeded limits
/// and exceptions of a user's function.
fn is_of_the_data(sqlstate: &str) -> bool {
    matches!(&sqlstate[..2], "21" | "22" | "23" | "54") || sqlstate == "P0001"
}

fn read(error: &DbError) -> EventRefusal {
    EventRefusal {
        sqlstate: error.code().code().to_owned(),
        message: error.message().into(),
        column: error.column().map(str::to_owned),
        constraint: error.constraint().map(str::to_owned),
    }
}

fn refuses_too_much(model: &Model, applied: &Applied) -> Error {
    let sqlstate = applied.refused.last().map_or("", |refused| refused.refusal.sqlstate.as_str());
    Error::new(
        Kind::Config,
        format!(
            "the model {} refuses more than {:.0} % of its events (SQLSTATE {sqlstate}): they wait; fix {}, or raise its \
             max_quarantined_share to send them to the dead-letter queue",
            model.name,
            model.max_quarantined_share * 100.0,
            model.file,
        ),
    )
    .with_code(Code::ModelRefusesTooMuch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_data_is_quarantined() {
        for sqlstate in ["22P02", "22003", "23505", "23514", "21000", "54000", "P0001"] {
            assert!(is_of_the_data(sqlstate), "{sqlstate}");
        }
        for sqlstate in
            ["42P01", "42703", "42601", "42501", "40P01", "57014", "53100", "08006", "25006", "55P03"]
        {
            assert!(!is_of_the_data(sqlstate), "{sqlstate}");
        }
    }
}
