//! NOTIFY on channel `millrace`: one message per commit, sent in the transaction that it reports.

use std::collections::BTreeMap;

use millrace::Result;
use serde_json::{Value, json};
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use crate::model::EventRoute;
use crate::sql::Statement;

/// The channel for `LISTEN`.
pub const CHANNEL: &str = "millrace";
/// PostgreSQL limits a payload to less than 8,000 bytes.
const LONGEST: usize = 7_900;

const NOTIFY: Statement = Statement::new("notify listeners", include_str!("notify.sql"));

/// A claim was transformed.
pub async fn transformed(
    transaction: &Transaction<'_>,
    route: &EventRoute,
    batches: usize,
    events: u64,
    quarantined: u64,
    rows: &BTreeMap<String, u64>,
) -> Result<()> {
    let mut message = json!({
        "kind": "transform",
        "source": route.source,
        "event_type": route.event_type,
        "batches": batches,
        "events": events,
        "quarantined": quarantined,
        "rows": rows,
    });
    if message.to_string().len() > LONGEST {
        // The counts of many models may not fit. pipeline.runs has them.
        message["rows"] = Value::Null;
    }
    send(transaction, &message).await
}

/// Sends `message` when the transaction commits.
pub async fn send(transaction: &Transaction<'_>, message: &Value) -> Result<()> {
    NOTIFY.query(transaction, &[(&CHANNEL, Type::TEXT), (&message.to_string(), Type::TEXT)]).await?;
    Ok(())
}
