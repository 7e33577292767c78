//! The dead letters of events that a model refused.

use std::time::SystemTime;

use millrace::config::environment::ExposeSecret;
use millrace::dead_letter::{DeadLetter, DeadLetterKind, Origin, Payload, Reason};
use millrace::origin::VersionedObject;
use millrace::{Code, Result};
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Transaction};

use super::apply::{EventRefusal, Refused};
use crate::deploy::table::enforced;
use crate::model::Model;
use crate::sql::Statement;

const REFUSED_EVENTS: Statement =
    Statement::new("read the events that a model refused", include_str!("refused_events.sql"));

/// Creates one dead letter for each event that `model` refused, with the payload of the event.
pub async fn create(
    transaction: &Transaction<'_>,
    model: &Model,
    refused: &[Refused],
) -> Result<Vec<DeadLetter>> {
    if refused.is_empty() {
        return Ok(Vec::new());
    }
    let received_at: Vec<SystemTime> = refused.iter().map(|refused| refused.received_at).collect();
    let event_id: Vec<i64> = refused.iter().map(|refused| refused.event_id).collect();
    let rows = REFUSED_EVENTS
        .query(transaction, &[(&received_at, Type::TIMESTAMPTZ_ARRAY), (&event_id, Type::INT8_ARRAY)])
        .await?;
    Ok(refused.iter().zip(&rows).map(|(refused, row)| dead_letter(model, refused, row)).collect())
}

fn dead_letter(model: &Model, refused: &Refused, row: &Row) -> DeadLetter {
    let Refused { batch_id, event_id, refusal, .. } = refused;
    let load: Option<&str> = row.get("load");
    let object = load.and_then(VersionedObject::parse);
    let origin = Origin {
        bucket: object.as_ref().map(|object| object.bucket.clone()),
        key: object.as_ref().map(|object| object.key.clone()),
        version: object.map(|object| object.version),
        batch_id: Some(*batch_id),
        event_id: Some(*event_id),
        ..Origin::default()
    };
    DeadLetter::new(
        DeadLetterKind::Event,
        &format!("event:{batch_id}/{event_id}@{}", model.name),
        row.get("source"),
        row.get("event_type"),
        reason(model, refusal),
        origin,
        Payload::raw(row.get::<_, &str>("payload").as_bytes()),
    )
}

/// Why a model refused an event.
pub fn reason(model: &Model, refusal: &EventRefusal) -> Reason {
    let test = refusal.constraint.as_deref().and_then(|name| enforced(model).get(name).copied());
    let (code, message) = match test {
        Some(condition) => (Code::TestFailed, format!("the test `{condition}` of the model failed")),
        None => (Code::RefusedByModel, refusal.message.expose_secret().to_owned()),
    };
    Reason {
        column: refusal.column.clone(),
        sqlstate: Some(refusal.sqlstate.clone()),
        model: Some(model.name.clone()),
        ..Reason::new(code, message)
    }
}
