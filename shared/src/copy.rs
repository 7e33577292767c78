//! COPY into `staging.events`, and finding the rows it refuses.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use tokio_postgres::Transaction;

use crate::batch::Batch;
use crate::database::failure::{Refusal, from_postgres, refusal};
use crate::{Kind, Result};

const COPY_ROWS: &str = include_str!("copy_rows.sql");
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// A field count of -1 ends the rows.
const TRAILER: &[u8] = &[0xff, 0xff];
/// Large enough that the driver's framing costs nothing, small enough that its buffer stays small.
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
    // A refusal ends the stream early, and only `finish` has the server's reason for it.
    match (sent, sink.as_mut().finish().await) {
        (_, Err(error)) | (Err(error), Ok(_)) => Err(from_postgres(DOING, error)),
        (Ok(()), Ok(count)) => Ok(count),
    }
}

/// A row that PostgreSQL refuses, by its index in the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRow {
    pub row: usize,
    pub refusal: Refusal,
}

/// Finds the rows of `batch` that PostgreSQL refuses as data, by halving; nothing that is copied on the way stays.
/// k bad rows among n cost O(k log n) statements. A failure that is not the data's is returned as it is.
pub async fn find_refused_rows(transaction: &Transaction<'_>, batch: &Batch) -> Result<Vec<RefusedRow>> {
    let mut refused = Vec::new();
    let mut open = Vec::from([(0, batch.row_count())]);
    while let Some((start, end)) = open.pop() {
        if start == end {
            continue;
        }
        transaction
            .batch_execute("savepoint part")
            .await
            .map_err(|error| from_postgres("set a savepoint", error))?;
        let outcome = copy_rows(transaction, batch, start..end).await;
        transaction
            .batch_execute("rollback to savepoint part; release savepoint part")
            .await
            .map_err(|error| from_postgres("roll back to a savepoint", error))?;
        let Err(error) = outcome else { continue };
        match refusal(&error) {
            Some(reason) if error.kind() == Kind::Contract => {
                if end - start == 1 {
                    refused.push(RefusedRow { row: start, refusal: reason.clone() });
                } else {
                    let middle = start.midpoint(end);
                    open.push((middle, end));
                    open.push((start, middle));
                }
            }
            _ => return Err(error),
        }
    }
    Ok(refused)
}
