//! Copies batches into `staging.events`, and finds the rows that PostgreSQL refuses.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use tokio_postgres::Transaction;

use crate::Result;
use crate::batch::Batch;
use crate::database::failure::{PostgresError, from_postgres, refused_rows};

const COPY_ROWS: &str = include_str!("copy_rows.sql");
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// A field count of -1 ends the rows.
const TRAILER: &[u8] = &[0xff, 0xff];
/// Large enough to make the overhead of framing negligible, small enough for a small buffer in the driver.
const PIECE: usize = 64 << 10;

/// Copies `rows` of `batch` inside `transaction`.
pub async fn copy_rows(transaction: &Transaction<'_>, batch: &Batch, rows: Range<usize>) -> Result<u64> {
    const DOING: &str = "copy rows into staging.events";
    let sink = transaction.copy_in(COPY_ROWS).await.map_err(|error| from_postgres(DOING, error))?;
    let mut sink = std::pin::pin!(sink);
    let mut header = BytesMut::with_capacity(19);
    header.put_slice(SIGNATURE);
    header.put_i32(0); // flags
    header.put_i32(0); // header extension
    let mut body = batch.rows(rows);
    let mut sent = sink.feed(header.freeze()).await;
    while sent.is_ok() && !body.is_empty() {
        let piece = body.split_to(body.len().min(PIECE));
        sent = sink.feed(piece).await;
    }
    if sent.is_ok() {
        sent = sink.feed(Bytes::from_static(TRAILER)).await;
    }
    // If the server refuses a row, the stream ends early, and only `finish` returns the reason.
    match (sent, sink.as_mut().finish().await) {
        (_, Err(error)) | (Err(error), Ok(_)) => Err(from_postgres(DOING, error)),
        (Ok(()), Ok(count)) => Ok(count),
    }
}

/// A row that PostgreSQL refuses, with its index in the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRow {
    pub row: usize,
    pub refusal: PostgresError,
}

/// Finds the rows of `batches` that PostgreSQL refuses, by bisection. Returns those of each batch by ascending index.
///
/// k refused rows among n take O(k log n) statements. Accepted rows stay until the end, so that of two rows that exclude
/// each other the second is refused. Then everything is rolled back. A failure that is not caused by the rows is returned
/// unchanged.
pub async fn find_refused_rows(
    transaction: &Transaction<'_>,
    batches: &[&Batch],
) -> Result<Vec<Vec<RefusedRow>>> {
    execute(transaction, "savepoint trial; set constraints all immediate").await?;
    let mut refused = Vec::with_capacity(batches.len());
    for batch in batches {
        refused.push(bisect(transaction, batch).await?);
    }
    execute(transaction, "rollback to savepoint trial; release savepoint trial").await?;
    Ok(refused)
}

async fn bisect(transaction: &Transaction<'_>, batch: &Batch) -> Result<Vec<RefusedRow>> {
    let mut refused = Vec::new();
    let mut open = Vec::from([(0, batch.row_count())]);
    while let Some((start, end)) = open.pop() {
        if start == end {
            continue;
        }
        execute(transaction, "savepoint part").await?;
        let Err(error) = copy_rows(transaction, batch, start..end).await else {
            execute(transaction, "release savepoint part").await?;
            continue;
        };
        execute(transaction, "rollback to savepoint part; release savepoint part").await?;
        let Some(reason) = refused_rows(&error) else { return Err(error) };
        if end - start == 1 {
            refused.push(RefusedRow { row: start, refusal: reason.clone() });
        } else {
            let middle = start.midpoint(end);
            open.push((middle, end));
            open.push((start, middle));
        }
    }
    Ok(refused)
}

async fn execute(transaction: &Transaction<'_>, statements: &str) -> Result<()> {
    transaction.batch_execute(statements).await.map_err(|error| from_postgres("find refused rows", error))
}
