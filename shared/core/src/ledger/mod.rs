//! The ledger: `staging.batches`, one row per batch, and the transaction that makes ingestion exactly-once.
//!
//! A transaction claims the origin of a batch before it copies the rows. If two workers have the same chunk, the second waits at
//! the unique origin until the first commits, and then skips the chunk.

use std::time::{Instant, SystemTime};

use tokio_postgres::Transaction;
use tokio_postgres::types::Type;
use tracing::{info, warn};
use uuid::Uuid;

use crate::batch::Batch;
use crate::copy::{RefusedRow, copy_rows, find_refused_rows};
use crate::database::Connection;
use crate::database::failure::{from_postgres, refused_rows};
use crate::{Code, Error, Kind, Result};

const CLAIM_BATCH: &str = include_str!("claim_batch.sql");
const ADD_REPAIRS: &str = include_str!("add_repairs.sql");
const IS_COMMITTED: &str = include_str!("is_committed.sql");
const ENSURE_PARTITION: &str = include_str!("ensure_partition.sql");

/// The data of a batch besides its rows.
#[derive(Debug, Clone)]
pub struct LedgerEntry<'a> {
    /// The data of which the batch was made: `s3://bucket/key?version=…#chunk`. Unique, and the same for every attempt.
    pub origin: String,
    /// The number of records that were refused before COPY. `before_commit` sends their dead letters.
    pub rejected_count: u64,
    /// Repaired records, each with its raw text.
    pub repairs: &'a [Repair],
    /// The load of the batch; `None` for a batch that is not part of a file. A superseded load supersedes its batches.
    pub load_id: Option<Uuid>,
    /// The position of the batch in its file; `None` without a position, such as for a redriven record.
    pub span: Option<FileSpan>,
}

/// A repaired record with its raw text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// 1-based physical line.
    pub line: u64,
    pub byte_offset: u64,
    /// The rule that repaired it.
    pub rule: &'static str,
    pub raw: Vec<u8>,
}

/// The part of a file that a batch contains: records `first_record .. next_record`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSpan {
    pub first_record: u64,
    pub next_record: u64,
    pub byte_start: u64,
    pub byte_end: u64,
    pub first_line: u64,
    pub next_line: u64,
}

/// The outcome of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staged {
    /// This call committed it.
    Committed { staged_count: u64, rejected_count: u64 },
    /// Its origin was already in the ledger. Nothing was written.
    Duplicate,
}

/// Stages a batch in one transaction: claims its origin, copies its rows, stores its repairs and sends its dead letters.
///
/// `before_commit` runs after the rows are copied and before they are committed, with the rows that PostgreSQL refused:
/// it sends the dead letters, so that a crash can repeat a dead letter but never lose one. It may run again on a retry.
/// Nothing is staged when it fails.
pub async fn stage(
    connection: &mut Connection,
    batch: &Batch,
    entry: &LedgerEntry<'_>,
    deadline: Instant,
    mut before_commit: impl AsyncFnMut(&[RefusedRow]) -> Result<()>,
) -> Result<Staged> {
    let mut staged = stage_once(connection, batch, entry, &[], deadline, &mut before_commit).await;
    if let Err(error) = &staged
        && error.code() == Code::PartitionMissing
    {
        ensure_partition(connection, batch.received_at.to_system_time(), deadline).await?;
        staged = stage_once(connection, batch, entry, &[], deadline, &mut before_commit).await;
    }
    let Err(error) = staged else { return staged };
    if refused_rows(&error).is_none() {
        return Err(error);
    }
    // Rows are checked before, so this is rare: find the rows that PostgreSQL refuses, and stage the batch without them.
    let refused = connection
        .run_tx("find refused rows", deadline, async |transaction| {
            find_refused_rows(transaction, &[batch]).await
        })
        .await?
        .concat();
    warn!(batch_id = %batch.id, refused = refused.len(), error = error.chain(), "rows refused by the database");
    if refused.is_empty() {
        return Err(error);
    }
    stage_once(connection, batch, entry, &refused, deadline, &mut before_commit).await
}

async fn stage_once(
    connection: &mut Connection,
    batch: &Batch,
    entry: &LedgerEntry<'_>,
    refused: &[RefusedRow],
    deadline: Instant,
    before_commit: &mut impl AsyncFnMut(&[RefusedRow]) -> Result<()>,
) -> Result<Staged> {
    let rest;
    let rows = if refused.is_empty() {
        batch
    } else {
        let indexes: Vec<usize> = refused.iter().map(|row| row.row).collect();
        rest = batch.without(&indexes);
        &rest
    };
    let staged_count = rows.row_count() as u64;
    let rejected_count = entry.rejected_count + refused.len() as u64;
    let stall_detector = connection.stall_detector();
    connection
        .run_tx("stage batch", deadline, async |transaction| {
            // Claim before COPY: a second worker waits here, then skips.
            if !claim(transaction, rows, entry, rejected_count).await? {
                // The batch is not a duplicate if an earlier attempt of this call committed without a response.
                return Ok(match is_committed(transaction, batch.id).await? {
                    true => Staged::Committed { staged_count, rejected_count },
                    false => Staged::Duplicate,
                });
            }
            if staged_count > 0 {
                copy_rows(transaction, rows, 0..rows.row_count()).await?;
            }
            if !entry.repairs.is_empty() {
                add_repairs(transaction, batch.id, entry.repairs).await?;
            }
            stall_detector.pause(before_commit(refused)).await?;
            Ok(Staged::Committed { staged_count, rejected_count })
        })
        .await
}

async fn claim(
    transaction: &Transaction<'_>,
    batch: &Batch,
    entry: &LedgerEntry<'_>,
    rejected_count: u64,
) -> Result<bool> {
    let staged_count = batch.row_count() as u64;
    let received_at: SystemTime = batch.received_at.to_system_time();
    let count = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let place = |pick: fn(&FileSpan) -> u64| entry.span.as_ref().map(|span| count(pick(span)));
    let inserted = transaction
        .execute_typed(
            CLAIM_BATCH,
            &[
                (&batch.id, Type::UUID),
                (&entry.origin, Type::TEXT),
                (&entry.load_id, Type::UUID),
                (&batch.source, Type::TEXT),
                (&batch.event_type, Type::TEXT),
                (&received_at, Type::TIMESTAMPTZ),
                (&count(staged_count + rejected_count), Type::INT8),
                (&count(staged_count), Type::INT8),
                (&count(rejected_count), Type::INT8),
                (&count(entry.repairs.len() as u64), Type::INT8),
                (&count(batch.payload_bytes() as u64), Type::INT8),
                (&place(|span| span.first_record), Type::INT8),
                (&place(|span| span.next_record), Type::INT8),
                (&place(|span| span.byte_start), Type::INT8),
                (&place(|span| span.byte_end), Type::INT8),
                (&place(|span| span.first_line), Type::INT8),
                (&place(|span| span.next_line), Type::INT8),
            ],
        )
        .await
        .map_err(|error| from_postgres("claim a batch in staging.batches", error))?;
    Ok(inserted == 1)
}

async fn is_committed(transaction: &Transaction<'_>, batch_id: Uuid) -> Result<bool> {
    let rows = transaction
        .query_typed(IS_COMMITTED, &[(&batch_id, Type::UUID)])
        .await
        .map_err(|error| from_postgres("look up a batch in staging.batches", error))?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

async fn add_repairs(transaction: &Transaction<'_>, batch_id: Uuid, repairs: &[Repair]) -> Result<()> {
    let lines: Vec<i64> = repairs.iter().map(|repair| repair.line as i64).collect();
    let byte_offsets: Vec<i64> = repairs.iter().map(|repair| repair.byte_offset as i64).collect();
    let rules: Vec<&str> = repairs.iter().map(|repair| repair.rule).collect();
    let raw: Vec<&[u8]> = repairs.iter().map(|repair| &repair.raw[..]).collect();
    transaction
        .execute_typed(
            ADD_REPAIRS,
            &[
                (&batch_id, Type::UUID),
                (&lines, Type::INT8_ARRAY),
                (&byte_offsets, Type::INT8_ARRAY),
                (&rules, Type::TEXT_ARRAY),
                (&raw, Type::BYTEA_ARRAY),
            ],
        )
        .await
        .map_err(|error| from_postgres("store the raw text of repaired records", error))?;
    Ok(())
}

/// Creates the partition of `received_at`, in its own transaction. Safe to call concurrently.
pub async fn ensure_partition(
    connection: &mut Connection,
    received_at: SystemTime,
    deadline: Instant,
) -> Result<()> {
    connection
        .run_tx("ensure partition", deadline, async |transaction| {
            transaction
                .execute_typed(ENSURE_PARTITION, &[(&received_at, Type::TIMESTAMPTZ)])
                .await
                .map_err(|error| from_postgres("create a missing partition of staging.events", error))?;
            Ok(())
        })
        .await
        .map_err(|error| {
            Error::new(
                if error.kind() == Kind::Contract { Kind::Config } else { error.kind() },
                "create the partition of the day",
            )
            .with_source(error)
        })?;
    info!("a missing partition of staging.events was created");
    Ok(())
}
