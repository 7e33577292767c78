//! Maps the SQLSTATE of a PostgreSQL error to a [`Kind`].
//!
//! The message of the server may quote the refused value, and its DETAIL contains whole rows. Neither is logged. Only the
//! SQLSTATE and the part of the message before a quoted value are kept.

use std::fmt;

use tokio_postgres::error::{DbError, SqlState};

use crate::{Code, Error, Kind};

/// An error of the server, without the data in its message. It may be logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresError {
    pub sqlstate: String,
    pub message: String,
}

impl fmt::Display for PostgresError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.sqlstate)
    }
}

impl std::error::Error for PostgresError {}

/// The driver lost the connection or could not connect.
#[derive(Debug)]
struct Lost(String);

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Lost {}

/// Converts a driver error to [`Error`]. `doing` names the operation: "copy rows into staging.events".
pub fn from_postgres(doing: &str, error: tokio_postgres::Error) -> Error {
    let Some(refused) = error.as_db_error() else {
        // Not an error of the server: the socket was closed, timed out or was refused, or TLS failed.
        let kind = if is_misuse(&error) { Kind::Bug } else { Kind::Transient };
        return Error::new(kind, doing)
            .with_code(Code::DatabaseUnreachable)
            .with_source(Lost(causes(&error)));
    };
    let (kind, code) = match lacks_partition(refused) {
        true => (Kind::Contract, Code::PartitionMissing),
        false => classify(refused.code()),
    };
    Error::new(kind, doing).with_code(code).with_source(PostgresError {
        sqlstate: refused.code().code().to_owned(),
        message: without_values(refused.message()),
    })
}

/// The error of the server in `error`, if there is one.
pub fn postgres_error(error: &Error) -> Option<&PostgresError> {
    std::error::Error::source(error).and_then(|source| source.downcast_ref::<PostgresError>())
}

/// The refusal of rows that were written: by their type, or by a constraint, a domain or a trigger, which may raise any
/// SQLSTATE. `None` when the failure is of the connection, the server or the schema.
pub fn refused_rows(error: &Error) -> Option<&PostgresError> {
    match error.kind() {
        Kind::Contract | Kind::Bug => postgres_error(error),
        Kind::Config | Kind::Transient | Kind::Conflict => None,
    }
}

/// PostgreSQL reports a row without a partition by the SQLSTATE of a CHECK constraint. The error then names the
/// partitioned table and no constraint; that of a constraint, also one of a domain, names the constraint.
fn lacks_partition(refused: &DbError) -> bool {
    *refused.code() == SqlState::CHECK_VIOLATION
        && refused.constraint().is_none()
        && (refused.schema(), refused.table()) == (Some("staging"), Some("events"))
}

fn classify(state: &SqlState) -> (Kind, Code) {
    match *state {
        SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => {
            (Kind::Conflict, Code::Conflict)
        }
        // After a fail-over, the old connection is to a read-only server.
        SqlState::READ_ONLY_SQL_TRANSACTION => (Kind::Transient, Code::DatabaseReadOnly),
        SqlState::LOCK_NOT_AVAILABLE => (Kind::Transient, Code::LockTimeout),
        SqlState::QUERY_CANCELED => (Kind::Transient, Code::StatementTimeout),
        SqlState::UNDEFINED_TABLE | SqlState::UNDEFINED_COLUMN | SqlState::UNDEFINED_FUNCTION => {
            (Kind::Config, Code::SchemaMissing)
        }
        SqlState::INSUFFICIENT_PRIVILEGE => (Kind::Config, Code::PrivilegeMissing),
        _ => match &state.code()[..2] {
            "08" | "53" | "57" | "58" | "XX" => (Kind::Transient, Code::DatabaseUnavailable),
            "55" => (Kind::Transient, Code::DatabaseBusy),
            "22" | "23" | "54" => (Kind::Contract, Code::DatabaseRefusedData),
            "28" | "3D" | "3F" | "42" => (Kind::Config, Code::DatabaseRefusedAccess),
            "25" | "26" | "34" | "40" => (Kind::Transient, Code::TransactionState),
            _ => (Kind::Bug, Code::DatabaseError),
        },
    }
}

/// Whether the driver was used incorrectly, such as with a wrong parameter type. Other errors without a SQLSTATE are those of
/// the network.
fn is_misuse(error: &tokio_postgres::Error) -> bool {
    let text = error.to_string();
    text.starts_with("error serializing parameter") || text.starts_with("expected ")
}

fn causes(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let part = inner.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = inner.source();
    }
    text
}

fn without_values(message: &str) -> String {
    let end = message.find(": \"").unwrap_or(message.len());
    message[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_value_is_cut_from_the_message() {
        assert_eq!(
            without_values("invalid input syntax for type integer: \"4111 1111\""),
            "invalid input syntax for type integer"
        );
        assert_eq!(without_values("deadlock detected"), "deadlock detected");
    }

    #[test]
    fn each_state_has_its_kind() {
        let cases = [
            (SqlState::T_R_DEADLOCK_DETECTED, Kind::Conflict),
            (SqlState::READ_ONLY_SQL_TRANSACTION, Kind::Transient),
            (SqlState::DISK_FULL, Kind::Transient),
            (SqlState::ADMIN_SHUTDOWN, Kind::Transient),
            (SqlState::TOO_MANY_CONNECTIONS, Kind::Transient),
            (SqlState::UNTRANSLATABLE_CHARACTER, Kind::Contract),
            (SqlState::INVALID_TEXT_REPRESENTATION, Kind::Contract),
            (SqlState::STATEMENT_TOO_COMPLEX, Kind::Contract),
            (SqlState::UNDEFINED_TABLE, Kind::Config),
            (SqlState::INVALID_PASSWORD, Kind::Config),
        ];
        for (state, kind) in cases {
            assert_eq!(classify(&state).0, kind, "{}", state.code());
        }
    }
}
