//! A delivery to store, and the outcome.

use std::sync::Arc;
use std::time::SystemTime;

use millrace::Error;
use millrace::database::failure::PostgresError;
use millrace::ledger::Repair;

/// A verified delivery, split into events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub source: String,
    /// The delivery is a duplicate when its source has stored any of these keys before.
    pub dedupe_keys: Vec<String>,
    /// How long the keys are kept, in days.
    pub remembered_days: u16,
    pub events: Vec<DeliveryEvent>,
}

/// One record of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryEvent {
    /// The 0-based number of the record in its delivery.
    pub number: u64,
    pub event_type: String,
    /// JSON text. `None` for a rejected record: its dead letter was sent, and the ledger counts it.
    pub payload: Option<String>,
    /// The original record, when it was repaired.
    pub repair: Option<Repair>,
}

impl Delivery {
    /// The approximate size of the event in a flush.
    pub fn byte_count(&self) -> usize {
        self.events.iter().map(|event| event.payload.as_ref().map_or(0, String::len) + 64).sum()
    }
}

/// The outcome of a delivery that the database accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// Committed now. Holds the ids of its events, in their order.
    New { event_ids: Vec<i64> },
    /// One of its keys is known. Nothing was written.
    Duplicate,
}

/// Why a delivery is not in the database, or why its outcome is unknown.
#[derive(Debug, Clone)]
pub enum NotStored {
    /// PostgreSQL refuses some of its events, given by index. The delivery can be stored without them.
    Refused(Vec<(usize, PostgresError)>),
    /// The database cannot be reached, is read-only, or fails.
    Failed(Arc<Error>),
}

/// The time at which a flush is received. PostgreSQL keeps microseconds, and a batch's rows are found by exactly this
/// value.
pub fn received_now() -> SystemTime {
    millrace::clock::ReceivedAt::now().to_system_time()
}
