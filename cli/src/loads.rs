//! Reads loads from the ledger.

use std::time::{Duration, SystemTime};

use millrace::database::failure::from_postgres;
use millrace::database::{self, Settings};
use millrace::{Error, Kind, LoadOutcome, Result};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

const LOAD: &str = include_str!("queries/load.sql");
const ENDED_LOADS: &str = include_str!("queries/ended_loads.sql");

/// The progress of a load, and its outcome if it has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadProgress {
    pub staged: i64,
    pub rejected: i64,
    pub repaired: i64,
    pub end: Option<LoadEnd>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadEnd {
    pub outcome: LoadOutcome,
    pub reason: Option<String>,
}

impl LoadEnd {
    /// Whether the file was loaded.
    pub fn is_good(&self) -> bool {
        self.outcome.is_good()
    }
}

/// A load that ended.
#[derive(Debug, Clone)]
pub struct EndedLoad {
    pub load_id: Uuid,
    pub object: String,
    pub source: String,
    pub event_type: String,
    pub load: LoadProgress,
    pub took: Duration,
    pub finished_at: SystemTime,
}

/// Connects for reading. `who` is the application name in `pg_stat_activity`.
pub async fn connect(database_url: &str, who: &str) -> Result<Client> {
    let settings = Settings::parse(database_url)?.application_name(who);
    database::connection::connect(&settings).await.map_err(|error| {
        Error::new(Kind::Config, "no database: start the local stack with `make dev`, or set DATABASE_URL")
            .with_source(error)
    })
}

/// The load of one version of an object, `s3://bucket/key?version=…`, if it has begun.
pub async fn find(client: &Client, origin: &str) -> Result<Option<LoadProgress>> {
    let rows = client
        .query_typed(LOAD, &[(&origin, Type::TEXT)])
        .await
        .map_err(|error| from_postgres("read the ledger", error))?;
    Ok(rows.first().map(read_load))
}

/// The loads that ended since `moment` or up to a minute before it, in that order.
pub async fn ended_since(client: &Client, moment: SystemTime) -> Result<Vec<EndedLoad>> {
    let rows = client
        .query_typed(ENDED_LOADS, &[(&moment, Type::TIMESTAMPTZ)])
        .await
        .map_err(|error| from_postgres("read the ledger", error))?;
    Ok(rows
        .iter()
        .map(|row| EndedLoad {
            load_id: row.get("load_id"),
            object: row.get("object"),
            source: row.get("source"),
            event_type: row.get("event_type"),
            load: read_load(row),
            took: Duration::try_from_secs_f64(row.get("duration_seconds")).unwrap_or_default(),
            finished_at: row.get("finished_at"),
        })
        .collect())
}

fn read_load(row: &Row) -> LoadProgress {
    let outcome = row.get::<_, Option<&str>>("outcome").and_then(LoadOutcome::parse);
    LoadProgress {
        staged: row.get("staged_count"),
        rejected: row.get("rejected_count"),
        repaired: row.get("repaired_count"),
        end: outcome.map(|outcome| LoadEnd { outcome, reason: row.get("reason") }),
    }
}
