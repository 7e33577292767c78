//! Cuts a file's records into chunks. Each chunk becomes one batch. The reader runs on a blocking thread, one or two
//! chunks ahead of COPY.
//!
//! A chunk's bounds depend only on the file and on the load's stored plan. A second attempt therefore makes the same
//! chunks, and the unique origins in the ledger show which of them are already committed.

use std::io::Read;
use std::time::Instant;

use millrace::batch::{Batch, BatchBounds, BatchBuilder, Push};
use millrace::clock::ReceivedAt;
use millrace::ledger::{FileSpan, Repair};
use millrace::{Code, Error, Kind, Result};
use tokio::sync::mpsc;

use crate::loads::CommittedChunk;
use crate::payload::PayloadEncoder;
use crate::plan::LoadPlan;
use millrace_csv::{CsvCode, CsvPosition, CsvRecord, CsvReject, Records, Row};

/// The rows of one future batch, with its rejects and repairs.
#[derive(Debug)]
pub struct Chunk {
    pub batch: Batch,
    pub span: FileSpan,
    pub rejects: Vec<CsvReject>,
    pub repairs: Vec<Repair>,
    /// Where each of the batch's rows is in the file.
    pub positions: Vec<CsvPosition>,
}

/// The bounds of a load's chunks.
pub struct Chunker {
    pub source: String,
    pub event_type: String,
    pub bounds: BatchBounds,
    pub columns: Vec<String>,
    pub encoder: PayloadEncoder,
    /// The records that are already in the ledger: ascending ranges that do not overlap.
    pub committed: Vec<(u64, u64)>,
    pub rejects: RejectShare,
    /// No chunk is started after this moment.
    pub stop_at: Instant,
}

impl Chunker {
    /// Bounds by `plan`, without the chunks that are `committed`.
    pub fn of(plan: &LoadPlan, committed: &[CommittedChunk], stop_at: Instant) -> Self {
        let columns = plan.columns().to_vec();
        Chunker {
            source: plan.source.clone(),
            event_type: plan.event_type.clone(),
            bounds: plan.bounds(),
            encoder: PayloadEncoder::new(&columns, &plan.options.columns, &plan.options.null_values),
            columns,
            committed: committed.iter().map(|chunk| (chunk.first_record, chunk.next_record)).collect(),
            rejects: RejectShare {
                read: committed.iter().map(|chunk| chunk.staged + chunk.rejected).sum(),
                rejected: committed.iter().map(|chunk| chunk.rejected).sum(),
                max_share: plan.options.max_rejected_share,
            },
            stop_at,
        }
    }
}

/// Counts the rejected records. The load stops when their share exceeds the declared share.
#[derive(Debug, Clone, Copy)]
pub struct RejectShare {
    pub read: u64,
    pub rejected: u64,
    pub max_share: f64,
}

impl RejectShare {
    /// The share is not applied to so few records: a handful of bad rows does not make a file bad, however short it is.
    const ALWAYS_ALLOWED: u64 = 100;

    fn is_exceeded(&self) -> bool {
        self.rejected > Self::ALWAYS_ALLOWED && self.rejected as f64 > self.max_share * self.read as f64
    }
}

/// Why reading ended.
#[derive(Debug, Clone, PartialEq)]
pub enum ReadEnd {
    /// The end of the file, with its record count and the notes of the reader.
    File { record_count: u64, notes: Vec<String> },
    /// The deadline is near.
    Deadline,
    /// Too many records are bad. The last chunk, which exceeded the share, was not sent.
    TooManyRejects { read: u64, rejected: u64, next: CsvPosition },
    /// The receiver was dropped because a chunk could not be staged.
    Abandoned,
}

/// Reads `records` to the end and sends the chunks.
pub fn send_chunks<R: Read>(
    mut records: Records<R>,
    mut chunker: Chunker,
    sender: &mpsc::Sender<Chunk>,
) -> Result<ReadEnd> {
    let mut open = Open::new(&chunker, records.position());
    loop {
        let here = records.position();
        if open.read == 0 {
            if let Some(&(_, next)) =
                chunker.committed.iter().find(|(first, next)| (*first..*next).contains(&here.record))
            {
                records.skip(next - here.record)?;
                if records.position().record < next {
                    return Err(Error::new(Kind::Bug, "the ledger knows more records than the file has"));
                }
                open = Open::new(&chunker, records.position());
                continue;
            }
            if Instant::now() >= chunker.stop_at {
                return Ok(ReadEnd::Deadline);
            }
        } else if open.is_full(&chunker) || here.record == open.until {
            if let Some(end) = open.send(&mut chunker, here, sender) {
                return Ok(end);
            }
            continue;
        }
        match records.next()? {
            Some(CsvRecord::Reject(reject)) => open.reject(reject),
            Some(CsvRecord::Row(row)) => {
                if open.row(&chunker, &row) == Push::Full {
                    if let Some(end) = open.send(&mut chunker, row.position, sender) {
                        return Ok(end);
                    }
                    open.row(&chunker, &row);
                }
            }
            None => {
                if open.read > 0
                    && let Some(end) = open.send(&mut chunker, here, sender)
                {
                    return Ok(end);
                }
                let notes =
                    records.notes().iter().map(|note| format!("line {}: {}", note.line, note.text)).collect();
                return Ok(ReadEnd::File { record_count: here.record, notes });
            }
        }
    }
}

/// Reads the few `records` of a text that is not a whole file into one chunk, without bounds.
pub fn read_single_chunk<R: Read>(mut records: Records<R>, chunker: &Chunker) -> Result<Chunk> {
    let mut open = Open::new(chunker, records.position());
    while let Some(record) = records.next()? {
        match record {
            CsvRecord::Reject(reject) => open.reject(reject),
            CsvRecord::Row(row) => {
                if open.row(chunker, &row) == Push::Full {
                    return Err(Error::new(Kind::Contract, "the text holds more than a chunk takes")
                        .with_code(Code::RecordTooLong));
                }
            }
        }
    }
    Ok(open.finish(records.position()))
}

/// The chunk that is being filled.
struct Open {
    start: CsvPosition,
    /// The first record after `start` that is already committed. The chunk ends before it.
    until: u64,
    read: u64,
    builder: BatchBuilder,
    rejects: Vec<CsvReject>,
    repairs: Vec<Repair>,
    positions: Vec<CsvPosition>,
    /// The raw bytes that are kept for rejects and repairs. They count towards the chunk's bytes.
    kept_bytes: usize,
}

impl Open {
    fn new(chunker: &Chunker, start: CsvPosition) -> Self {
        let committed = chunker.committed.iter().map(|(first, _)| *first);
        Open {
            start,
            until: committed.filter(|first| *first > start.record).min().unwrap_or(u64::MAX),
            read: 0,
            builder: BatchBuilder::new(
                &chunker.source,
                &chunker.event_type,
                ReceivedAt::now(),
                chunker.bounds,
            ),
            rejects: Vec::new(),
            repairs: Vec::new(),
            positions: Vec::new(),
            kept_bytes: 0,
        }
    }

    fn is_full(&self, chunker: &Chunker) -> bool {
        self.read >= chunker.bounds.rows as u64
            || self.builder.byte_count() + self.kept_bytes >= chunker.bounds.bytes
    }

    fn row(&mut self, chunker: &Chunker, row: &Row<'_>) -> Push {
        if let Err(mismatch) = chunker.encoder.check(|index| row.get(index)) {
            self.reject(CsvReject {
                position: row.position,
                column: chunker.columns.get(mismatch.index).cloned(),
                code: CsvCode::WrongType,
                reason: format!("not a {}", mismatch.expected).into(),
                raw: row.raw.to_vec(),
                raw_len: row.raw.len() as u64,
            });
            return Push::Added;
        }
        let push =
            self.builder.push_with(|out| chunker.encoder.write(out, row.len(), |index| row.get(index)));
        if push == Push::Added {
            self.read += 1;
            self.positions.push(row.position);
            if let Some(rule) = row.repaired {
                self.kept_bytes += row.raw.len();
                self.repairs.push(Repair {
                    line: row.position.line,
                    byte_offset: row.position.offset,
                    rule,
                    raw: row.raw.to_vec(),
                });
            }
        }
        push
    }

    fn reject(&mut self, reject: CsvReject) {
        self.read += 1;
        self.kept_bytes += reject.raw.len();
        self.rejects.push(reject);
    }

    /// Sends the chunk and starts the one at `next`. Returns an end when reading must not go on.
    fn send(
        &mut self,
        chunker: &mut Chunker,
        next: CsvPosition,
        sender: &mpsc::Sender<Chunk>,
    ) -> Option<ReadEnd> {
        chunker.rejects.read += self.read;
        chunker.rejects.rejected += self.rejects.len() as u64;
        if chunker.rejects.is_exceeded() {
            let RejectShare { read, rejected, .. } = chunker.rejects;
            return Some(ReadEnd::TooManyRejects { read, rejected, next: self.start });
        }
        let finished = std::mem::replace(self, Open::new(chunker, next));
        let chunk = finished.finish(next);
        sender.blocking_send(chunk).err().map(|_| ReadEnd::Abandoned)
    }

    /// The chunk of the records that were read, up to `next`.
    fn finish(self, next: CsvPosition) -> Chunk {
        let start = self.start;
        Chunk {
            batch: self.builder.finish(),
            span: FileSpan {
                first_record: start.record,
                next_record: next.record,
                byte_start: start.offset,
                byte_end: next.offset,
                first_line: start.line,
                next_line: next.line,
            },
            rejects: self.rejects,
            repairs: self.repairs,
            positions: self.positions,
        }
    }
}
