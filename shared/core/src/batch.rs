//! Batches: the unit of loading. This module builds a batch in memory and does no I/O.
//!
//! Rows are kept in the wire format of binary COPY, ready to send and to send again. One batch becomes one
//! transaction: its rows, its ledger row and its dedupe keys commit together or not at all.

use bytes::Bytes;
use std::ops::Range;
use uuid::Uuid;

use crate::clock::ReceivedAt;

/// The limits of a batch. It is full when it reaches the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchBounds {
    /// Rows in a batch, at least 1.
    pub rows: usize,
    /// Bytes of a batch as sent. One row larger than this still makes a batch of its own.
    pub bytes: usize,
}

impl Default for BatchBounds {
    /// 10,000 rows or 4 MiB: COPY is not faster with larger batches, and memory stays small.
    fn default() -> Self {
        BatchBounds { rows: 10_000, bytes: 4 << 20 }
    }
}

/// Space is reserved for a full batch up to this size. Pages that are not written to use no memory.
const LARGEST_RESERVE: usize = 16 << 20;
/// Space for the last row, which may not fit and is then removed.
const SLACK: usize = 64 << 10;

/// The bytes between the prefix of a row and its payload: the length of the payload and jsonb's version byte.
const PAYLOAD_HEAD: usize = 5;

/// Collects the rows of one batch.
#[derive(Debug)]
pub struct BatchBuilder {
    id: Uuid,
    received_at: ReceivedAt,
    source: String,
    event_type: String,
    bounds: BatchBounds,
    /// The prefix of every row of the batch, up to the payload's length.
    prefix: Vec<u8>,
    body: Vec<u8>,
    ends: Vec<usize>,
}

/// The outcome of a row that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    Added,
    /// The batch is full without it: flush, then offer the row to the next batch.
    Full,
}

impl BatchBuilder {
    /// An empty batch. Its id is a UUIDv7, so ids sort by time.
    pub fn new(source: &str, event_type: &str, received_at: ReceivedAt, bounds: BatchBounds) -> Self {
        let id = Uuid::now_v7();
        let mut prefix = Vec::with_capacity(64 + source.len() + event_type.len());
        prefix.extend_from_slice(&5_i16.to_be_bytes());
        field(&mut prefix, &received_at.to_postgres_micros().to_be_bytes());
        field(&mut prefix, id.as_bytes());
        field(&mut prefix, source.as_bytes());
        field(&mut prefix, event_type.as_bytes());
        BatchBuilder {
            id,
            received_at,
            source: source.to_owned(),
            event_type: event_type.to_owned(),
            bounds,
            prefix,
            body: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Offers one row; `write_payload` appends its JSON text. The row is removed when it does not fit.
    pub fn push_with(&mut self, write_payload: impl FnOnce(&mut Vec<u8>)) -> Push {
        if self.ends.len() >= self.bounds.rows {
            return Push::Full;
        }
        if self.ends.is_empty() {
            // Reserve once, and always the same size: buffers that grow to different sizes fragment the heap.
            self.body.reserve_exact(self.bounds.bytes.min(LARGEST_RESERVE) + SLACK);
        }
        let start = self.body.len();
        self.body.extend_from_slice(&self.prefix);
        let length_at = self.body.len();
        self.body.extend_from_slice(&[0; 4]);
        // jsonb's binary format: a version byte, then the text.
        self.body.push(1);
        write_payload(&mut self.body);
        if self.body.len() > self.bounds.bytes && !self.ends.is_empty() {
            self.body.truncate(start);
            return Push::Full;
        }
        let length = i32::try_from(self.body.len() - length_at - 4).unwrap_or(i32::MAX);
        self.body[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
        self.ends.push(self.body.len());
        Push::Added
    }

    pub fn push(&mut self, payload: &[u8]) -> Push {
        self.push_with(|body| body.extend_from_slice(payload))
    }

    pub fn byte_count(&self) -> usize {
        self.body.len()
    }

    pub fn finish(self) -> Batch {
        Batch {
            id: self.id,
            received_at: self.received_at,
            source: self.source,
            event_type: self.event_type,
            prefix_len: self.prefix.len(),
            body: Bytes::from(self.body),
            ends: self.ends,
        }
    }
}

fn field(row: &mut Vec<u8>, value: &[u8]) {
    // Names are bounded by the configuration, far below 2 GiB.
    row.extend_from_slice(&(value.len() as i32).to_be_bytes());
    row.extend_from_slice(value);
}

/// The rows of one transaction, encoded.
#[derive(Debug, Clone)]
pub struct Batch {
    pub id: Uuid,
    pub received_at: ReceivedAt,
    pub source: String,
    pub event_type: String,
    prefix_len: usize,
    body: Bytes,
    ends: Vec<usize>,
}

impl Batch {
    pub fn row_count(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of the JSON text of the payloads, without the encoding around it.
    pub fn payload_bytes(&self) -> usize {
        self.body.len() - self.row_count() * (self.prefix_len + PAYLOAD_HEAD)
    }

    /// The encoded rows of `rows`, without COPY's header and trailer. Cheap: the bytes are shared.
    pub fn rows(&self, rows: Range<usize>) -> Bytes {
        let start = if rows.start == 0 { 0 } else { self.ends[rows.start - 1] };
        let end = if rows.end == 0 { 0 } else { self.ends[rows.end - 1] };
        self.body.slice(start..end.max(start))
    }

    /// The JSON text of one row.
    pub fn payload(&self, row: usize) -> Bytes {
        self.rows(row..row + 1).slice(self.prefix_len + PAYLOAD_HEAD..)
    }

    /// The same batch without some rows, given by ascending index.
    #[must_use]
    pub fn without(&self, removed: &[usize]) -> Batch {
        let mut body = Vec::with_capacity(self.body.len());
        let mut ends = Vec::with_capacity(self.ends.len());
        for row in (0..self.row_count()).filter(|row| removed.binary_search(row).is_err()) {
            body.extend_from_slice(&self.rows(row..row + 1));
            ends.push(body.len());
        }
        Batch { body: Bytes::from(body), ends, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn builder(bounds: BatchBounds) -> BatchBuilder {
        BatchBuilder::new("shop", "orders", ReceivedAt::now(), bounds)
    }

    #[test]
    fn a_row_that_does_not_fit_is_removed() {
        let mut batch = builder(BatchBounds { rows: 2, ..BatchBounds::default() });
        assert_eq!(batch.push(b"{}"), Push::Added);
        assert_eq!(batch.push(b"{}"), Push::Added);
        let bytes = batch.byte_count();
        assert_eq!(batch.push(b"{}"), Push::Full);
        assert_eq!(batch.byte_count(), bytes);
        assert_eq!(batch.finish().row_count(), 2);
    }

    #[test]
    fn rows_are_removed_by_index() {
        let mut batch = builder(BatchBounds::default());
        for payload in [&b"[0]"[..], b"[1]", b"[2]", b"[3]"] {
            batch.push(payload);
        }
        let batch = batch.finish();
        let rest = batch.without(&[0, 2]);
        assert_eq!(rest.row_count(), 2);
        assert_eq!(rest.rows(0..1), batch.rows(1..2));
        assert_eq!(rest.rows(1..2), batch.rows(3..4));
        assert_eq!(rest.payload(1), &b"[3]"[..]);
        assert_eq!((batch.payload_bytes(), rest.payload_bytes()), (12, 6));
        assert_eq!(rest.without(&[0, 1]).payload_bytes(), 0);
    }

    proptest! {
        #[test]
        fn a_batch_never_exceeds_its_bounds(
            rows in 1_usize..20,
            bytes in 1_usize..2_000,
            payloads in prop::collection::vec(prop::collection::vec(b'a'..=b'z', 0..400), 1..60),
        ) {
            let bounds = BatchBounds { rows, bytes };
            let mut batches = Vec::new();
            let mut open = builder(bounds);
            for payload in &payloads {
                if open.push(payload) == Push::Full {
                    batches.push(std::mem::replace(&mut open, builder(bounds)).finish());
                    prop_assert_eq!(open.push(payload), Push::Added, "an empty batch takes any row");
                }
            }
            batches.push(open.finish());
            let total: usize = batches.iter().map(Batch::row_count).sum();
            prop_assert_eq!(total, payloads.len());
            for batch in &batches {
                prop_assert!(batch.row_count() <= rows);
                prop_assert!(batch.row_count() == 1 || batch.rows(0..batch.row_count()).len() <= bytes);
            }
        }
    }
}
