//! What is stored, and the outcome.

use std::sync::Arc;
use std::time::SystemTime;

use millrace::Error;
use millrace::database::failure::Refusal;
use millrace::ledger::Repair;

/// A delivery that was verified, cut into events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub source: String,
    /// It came before if one of these did, for this source.
    pub dedupe_keys: Vec<String>,
    /// How long the keys are kept, in days.
    pub remembered_days: u16,
    pub events: Vec<Event>,
}

/// One record of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// 0-based number of the record in its delivery.
    pub number: u64,
    pub event_type: String,
    /// JSON text; `None` for a record that was rejected: its dead letter has been sent, and the ledger counts it.
    pub payload: Option<String>,
    /// The record as it came, when it had to be fixed.
    pub repair: Option<Repair>,
}

impl Delivery {
    /// What it weighs in a flush, about.
    pub fn byte_count(&self) -> usize {
        self.events.iter().map(|event| event.payload.as_ref().map_or(0, String::len) + 64).sum()
    }
}

/// The outcome of a delivery that the database took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// Committed now; the ids of its events, in their order.
    New { event_ids: Vec<i64> },
    /// One of its keys is known: nothing was written.
    Duplicate,
}

/// Why nothing of a delivery is in the database, or nothing is known of it.
#[derive(Debug, Clone)]
pub enum NotStored {
    /// PostgreSQL refuses some of its events, given by index; without these it can be offered again.
    Refused(Vec<(usize, Refusal)>),
    /// The database cannot be reached, only reads, or is broken.
    Failed(Arc<Error>),
}

/// When a flush is received: PostgreSQL keeps microseconds, and a batch's rows are found by exactly this value.
pub fn received_now() -> SystemTime {
    millrace::clock::ReceivedAt::now().to_system_time()
}
