//! Migrations: numbered SQL files that are applied once, in order. A database that differs from the files is refused.
//!
//! The binary contains the files. Each runs in its own transaction, together with its row in `pipeline.migrations`, so that both
//! or neither are committed. A transaction-level advisory lock serializes concurrent runs.

use std::time::{Duration, Instant};

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Transaction};

use crate::database::failure::from_postgres;
use crate::{Code, Error, Kind, Result};

const PREPARE: &str = include_str!("prepare.sql");
const PREPARED: &str = include_str!("prepared.sql");
const LOCK: &str = include_str!("lock.sql");
const APPLIED: &str = include_str!("applied.sql");
const CHECKSUM: &str = include_str!("checksum.sql");
const RECORD: &str = include_str!("record.sql");
const PARTITIONS_AHEAD: &str = include_str!("partitions_ahead.sql");

/// The number of days after today whose partitions are created.
const DAYS_AHEAD: i32 = 7;

/// One file of `migrations/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    pub version: i32,
    pub name: &'static str,
    pub sql: &'static str,
}

macro_rules! migrations {
    ($($version:literal $name:literal),* $(,)?) => {
        &[$(Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../../../../migrations/", $name, ".sql")),
        }),*]
    };
}

/// Every migration, in order.
pub const MIGRATIONS: &[Migration] = migrations![
    1 "0001_schemas_and_roles",
    2 "0002_events",
    3 "0003_ledger",
    4 "0004_raw_events",
    5 "0005_deliveries",
    6 "0006_models",
    7 "0007_dead_letters",
    8 "0008_reconciliation",
];

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrateSummary {
    /// The names of the migrations that this run applied.
    pub applied: Vec<&'static str>,
    /// The version of the database.
    pub version: i32,
}

/// Applies the missing migrations. `progress` receives each migration and its duration. Safe to run concurrently.
///
/// # Errors
/// [`Kind::Config`] when the database does not match the files: a file was changed after it was applied, a migration is missing,
/// or the database has a newer migration.
pub async fn migrate(
    client: &mut Client,
    mut progress: impl FnMut(&Migration, Duration),
) -> Result<MigrateSummary> {
    prepare(client).await?;
    let mut applied = Vec::new();
    loop {
        let transaction = begin(client).await?;
        let next = check(&transaction, MIGRATIONS).await?;
        let Some(migration) = next else {
            break;
        };
        let started = Instant::now();
        transaction.batch_execute(migration.sql).await.map_err(|error| {
            let refused = from_postgres(&format!("apply migration {}", migration.name), error);
            Error::new(
                if refused.kind() == Kind::Contract { Kind::Bug } else { refused.kind() },
                format!("apply migration {}, which is rolled back", migration.name),
            )
            .with_source(refused)
        })?;
        transaction
            .execute_typed(
                RECORD,
                &[
                    (&migration.version, Type::INT4),
                    (&migration.name, Type::TEXT),
                    (&migration.sql, Type::TEXT),
                ],
            )
            .await
            .map_err(|error| from_postgres("record a migration", error))?;
        transaction.commit().await.map_err(|error| from_postgres("commit a migration", error))?;
        progress(migration, started.elapsed());
        applied.push(migration.name);
    }
    client
        .execute_typed(PARTITIONS_AHEAD, &[(&DAYS_AHEAD, Type::INT4)])
        .await
        .map_err(|error| from_postgres("create the partitions of the coming days", error))?;
    Ok(MigrateSummary { applied, version: MIGRATIONS.last().map_or(0, |migration| migration.version) })
}

/// The migrations that `migrate` would apply. Makes the same checks and writes nothing.
pub async fn pending(client: &mut Client) -> Result<Vec<&'static str>> {
    let transaction = begin(client).await?;
    let prepared: bool = transaction
        .query_typed_one(PREPARED, &[])
        .await
        .map_err(|error| from_postgres("look for the table pipeline.migrations", error))?
        .get(0);
    let next = if prepared { check(&transaction, MIGRATIONS).await? } else { MIGRATIONS.first() };
    Ok(MIGRATIONS
        .iter()
        .filter(|migration| next.is_some_and(|next| migration.version >= next.version))
        .map(|migration| migration.name)
        .collect())
}

async fn prepare(client: &mut Client) -> Result<()> {
    let transaction = begin(client).await?;
    transaction
        .batch_execute(PREPARE)
        .await
        .map_err(|error| from_postgres("create the table pipeline.migrations", error))?;
    transaction.commit().await.map_err(|error| from_postgres("create the table pipeline.migrations", error))
}

/// A transaction that holds the migration lock.
async fn begin(client: &mut Client) -> Result<Transaction<'_>> {
    let transaction =
        client.transaction().await.map_err(|error| from_postgres("begin a migration", error))?;
    transaction
        .batch_execute(LOCK)
        .await
        .map_err(|error| from_postgres("wait for another migration to end", error))?;
    Ok(transaction)
}

/// Compares the applied migrations with `files`, and returns the next one to apply.
async fn check<'m>(transaction: &Transaction<'_>, files: &'m [Migration]) -> Result<Option<&'m Migration>> {
    let rows = transaction
        .query_typed(APPLIED, &[])
        .await
        .map_err(|error| from_postgres("read pipeline.migrations", error))?;
    for (index, row) in rows.iter().enumerate() {
        let (version, name, checksum): (i32, String, String) = (row.get(0), row.get(1), row.get(2));
        let Some(file) = files.get(index) else {
            return Err(drift(format!(
                "the database has migration {name}, which this program does not know; use the program that applied it, or a newer one"
            )));
        };
        if file.version != version {
            return Err(drift(format!(
                "migration {} is missing between those that are applied; restore pipeline.migrations from a backup",
                file.name
            )));
        }
        let known: String = transaction
            .query_typed_one(CHECKSUM, &[(&file.sql, Type::TEXT)])
            .await
            .map_err(|error| from_postgres("compute a checksum", error))?
            .get(0);
        if known != checksum {
            return Err(drift(format!(
                "migration {name} was changed after it was applied; restore the file, and put the change in a new migration"
            )));
        }
    }
    Ok(files.get(rows.len()))
}

fn drift(message: String) -> Error {
    Error::new(Kind::Config, message).with_code(Code::MigrationDrift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_count_from_one_and_names_begin_with_them() {
        for (index, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(usize::try_from(migration.version).unwrap(), index + 1);
            assert!(migration.name.starts_with(&format!("{:04}_", migration.version)), "{}", migration.name);
            assert!(migration.sql.starts_with("-- "), "{} does not say why", migration.name);
        }
    }
}
