//! The events of a run: ranges of them, and how these are split.

use std::collections::HashMap;
use std::time::SystemTime;

use millrace::Result;
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use crate::sql::{Parameter, Statement};

const EVENT_IDS: Statement = Statement::new("list the events of a batch", include_str!("event_ids.sql"));

/// Events of one batch, from one id to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventRange {
    pub batch_id: Uuid,
    pub received_at: SystemTime,
    pub first_id: i64,
    pub last_id: i64,
}

impl EventRange {
    /// All events of a batch.
    pub fn whole(batch_id: Uuid, received_at: SystemTime) -> Self {
        EventRange { batch_id, received_at, first_id: 0, last_id: i64::MAX }
    }

    /// All events of the batches that `rows` hold, by `batch_id` and `received_at`.
    pub fn read(rows: &[Row]) -> Vec<Self> {
        rows.iter().map(|row| EventRange::whole(row.get("batch_id"), row.get("received_at"))).collect()
    }
}

/// A batch that a transaction has locked.
pub struct LockedBatch {
    pub batch_id: Uuid,
    pub received_at: SystemTime,
    pub staged_count: i64,
    /// A newer version of its file replaced it, so that it has no facts.
    pub superseded: bool,
}

impl LockedBatch {
    /// Reads a row with these columns.
    pub fn read(row: &Row) -> Self {
        LockedBatch {
            batch_id: row.get("batch_id"),
            received_at: row.get("received_at"),
            staged_count: row.get("staged_count"),
            superseded: row.get("superseded"),
        }
    }
}

/// The events of one run of models.
pub struct RunEvents {
    pub ranges: Vec<EventRange>,
    pub count: u64,
}

impl RunEvents {
    /// The events of the batches that are not superseded.
    pub fn of(batches: &[LockedBatch]) -> Self {
        let current = || batches.iter().filter(|batch| !batch.superseded);
        let ranges = current().map(|batch| EventRange::whole(batch.batch_id, batch.received_at)).collect();
        RunEvents { ranges, count: current().map(|batch| batch.staged_count as u64).sum() }
    }
}

/// Ranges as the parameters of [`CLAIMED`](super::statement::CLAIMED).
pub struct RangeParameters {
    received_at: Vec<SystemTime>,
    batch_id: Vec<Uuid>,
    first_id: Vec<i64>,
    last_id: Vec<i64>,
}

impl RangeParameters {
    pub fn new(ranges: &[EventRange]) -> Self {
        RangeParameters {
            received_at: ranges.iter().map(|range| range.received_at).collect(),
            batch_id: ranges.iter().map(|range| range.batch_id).collect(),
            first_id: ranges.iter().map(|range| range.first_id).collect(),
            last_id: ranges.iter().map(|range| range.last_id).collect(),
        }
    }

    pub fn typed(&self) -> [Parameter<'_>; 4] {
        [
            (&self.received_at, Type::TIMESTAMPTZ_ARRAY),
            (&self.batch_id, Type::UUID_ARRAY),
            (&self.first_id, Type::INT8_ARRAY),
            (&self.last_id, Type::INT8_ARRAY),
        ]
    }
}

/// The parts of a set of ranges.
#[derive(Debug, PartialEq, Eq)]
pub enum Split {
    /// The range has at most one event: its id.
    Event(Option<i64>),
    Two(Vec<EventRange>, Vec<EventRange>),
}

/// Splits ranges: by batch if there are several, otherwise by event.
#[derive(Default)]
pub struct RangeSplitter {
    ids: HashMap<Uuid, Vec<i64>>,
}

impl RangeSplitter {
    pub async fn split(&mut self, transaction: &Transaction<'_>, ranges: &[EventRange]) -> Result<Split> {
        let range = match ranges {
            [] => return Ok(Split::Event(None)),
            [range] => range,
            several => {
                let (first, second) = several.split_at(several.len() / 2);
                return Ok(Split::Two(first.to_vec(), second.to_vec()));
            }
        };
        let ids = match self.ids.entry(range.batch_id) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(unknown) => {
                unknown.insert(event_ids(transaction, range).await?)
            }
        };
        let from = ids.partition_point(|id| *id < range.first_id);
        let to = ids.partition_point(|id| *id <= range.last_id);
        Ok(split_ids(range, &ids[from..to]))
    }
}

fn split_ids(range: &EventRange, ids: &[i64]) -> Split {
    match ids {
        [] => Split::Event(None),
        [id] => Split::Event(Some(*id)),
        ids => {
            let (first, second) = ids.split_at(ids.len() / 2);
            let part =
                |ids: &[i64]| vec![EventRange { first_id: ids[0], last_id: ids[ids.len() - 1], ..*range }];
            Split::Two(part(first), part(second))
        }
    }
}

async fn event_ids(transaction: &Transaction<'_>, range: &EventRange) -> Result<Vec<i64>> {
    let rows = EVENT_IDS
        .query(transaction, &[(&range.received_at, Type::TIMESTAMPTZ), (&range.batch_id, Type::UUID)])
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_every_event_once() {
        let range = EventRange::whole(Uuid::nil(), SystemTime::UNIX_EPOCH);
        let ids: Vec<i64> = vec![3, 4, 9, 1_000, 1_001];
        let mut stack = vec![range];
        let mut found = Vec::new();
        while let Some(range) = stack.pop() {
            let inside: Vec<i64> =
                ids.iter().copied().filter(|id| (range.first_id..=range.last_id).contains(id)).collect();
            match split_ids(&range, &inside) {
                Split::Event(id) => found.extend(id),
                Split::Two(first, second) => stack.extend(second.into_iter().chain(first)),
            }
        }
        assert_eq!(found, ids);
    }
}
