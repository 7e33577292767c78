//! Turns a group of deliveries into the parameters of one statement.

use std::collections::HashMap;
use std::time::SystemTime;

use bytes::{BufMut, BytesMut};
use millrace::Result;
use millrace::database::Session;
use millrace::database::failure::from_postgres;
use tokio_postgres::Row;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use super::delivery::received_now;
use super::{Delivery, Stored};

const STORE: &str = include_str!("store.sql");
/// The types of the statement's parameters, in order.
const PARAMETERS: &[Type] = &[
    Type::TIMESTAMPTZ,
    Type::INT4_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::BOOL_ARRAY,
    Type::INT4_ARRAY,
    Type::INT4_ARRAY,
    Type::INT4_ARRAY,
    Type::JSONB_ARRAY,
    Type::INT4_ARRAY,
    Type::TEXT_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::BYTEA_ARRAY,
    Type::UUID_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
];

/// JSON text for a jsonb parameter. It is not parsed here.
#[derive(Debug)]
struct JsonText<'a>(&'a str);

impl ToSql for JsonText<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        // jsonb's binary format is a version byte and the text.
        out.put_u8(1);
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::JSONB
    }

    to_sql_checked!();
}

/// One flush as parallel arrays.
#[derive(Debug)]
pub struct Flush<'a> {
    pub received_at: SystemTime,
    keys: DedupeKeys<'a>,
    events: Events<'a>,
    batches: Batches<'a>,
    deliveries: usize,
}

#[derive(Debug, Default)]
struct DedupeKeys<'a> {
    delivery: Vec<i32>,
    source: Vec<&'a str>,
    key: Vec<&'a str>,
    is_first: Vec<bool>,
    days: Vec<i32>,
}

#[derive(Debug, Default)]
struct Events<'a> {
    delivery: Vec<i32>,
    batch: Vec<i32>,
    payload: Vec<Option<JsonText<'a>>>,
    payload_bytes: Vec<Option<i32>>,
    rule: Vec<Option<&'static str>>,
    line: Vec<Option<i64>>,
    offset: Vec<Option<i64>>,
    raw: Vec<Option<&'a [u8]>>,
}

#[derive(Debug, Default)]
struct Batches<'a> {
    id: Vec<Uuid>,
    source: Vec<&'a str>,
    event_type: Vec<&'a str>,
}

impl<'a> Flush<'a> {
    /// Deliveries of one flush must not share a key.
    pub fn new(deliveries: &[&'a Delivery]) -> Self {
        let (mut keys, mut events, mut batches) =
            (DedupeKeys::default(), Events::default(), Batches::default());
        // A batch has one source and one event type.
        let mut known: HashMap<(&str, &str), i32> = HashMap::new();
        for (number, delivery) in (0_i32..).zip(deliveries) {
            for (index, key) in delivery.dedupe_keys.iter().enumerate() {
                keys.delivery.push(number);
                keys.source.push(&delivery.source);
                keys.key.push(key);
                keys.is_first.push(index == 0);
                keys.days.push(i32::from(delivery.remembered_days));
            }
            for event in &delivery.events {
                let batch = *known.entry((&delivery.source, &event.event_type)).or_insert_with(|| {
                    batches.id.push(Uuid::now_v7());
                    batches.source.push(&delivery.source);
                    batches.event_type.push(&event.event_type);
                    // PostgreSQL's ordinality starts at 1.
                    batches.id.len() as i32
                });
                events.delivery.push(number);
                events.batch.push(batch);
                events.payload.push(event.payload.as_deref().map(JsonText));
                events.payload_bytes.push(event.payload.as_ref().map(|text| text.len() as i32));
                let repair = event.repair.as_ref();
                events.rule.push(repair.map(|repair| repair.rule));
                events.line.push(repair.map(|repair| repair.line as i64));
                events.offset.push(repair.map(|repair| repair.byte_offset as i64));
                events.raw.push(repair.map(|repair| repair.raw.as_slice()));
            }
        }
        Flush { received_at: received_now(), keys, events, batches, deliveries: deliveries.len() }
    }

    pub fn event_count(&self) -> usize {
        self.events.delivery.len()
    }

    /// All batches of a flush have the same `received_at`, by which their events are found.
    pub fn first_batch(&self) -> Option<Uuid> {
        self.batches.id.first().copied()
    }

    pub fn batch_count(&self) -> usize {
        self.batches.id.len()
    }

    /// Writes the flush and returns the outcome of each delivery, in their order. On return either all of it is
    /// committed or none.
    pub async fn write(&self, session: &mut Session) -> Result<Vec<Stored>> {
        let (client, statement) = session.prepared(STORE, PARAMETERS).await?;
        let rows = client
            .query(
                &statement,
                &[
                    &self.received_at,
                    &self.keys.delivery,
                    &self.keys.source,
                    &self.keys.key,
                    &self.keys.is_first,
                    &self.keys.days,
                    &self.events.delivery,
                    &self.events.batch,
                    &self.events.payload,
                    &self.events.payload_bytes,
                    &self.events.rule,
                    &self.events.line,
                    &self.events.offset,
                    &self.events.raw,
                    &self.batches.id,
                    &self.batches.source,
                    &self.batches.event_type,
                ],
            )
            .await
            .map_err(|error| from_postgres("store webhook deliveries", error))?;
        Ok(self.outcomes(&rows))
    }

    fn outcomes(&self, rows: &[Row]) -> Vec<Stored> {
        let mut outcomes = vec![Stored::Duplicate; self.deliveries];
        for row in rows {
            let number: i32 = row.get(0);
            if let Some(outcome) = usize::try_from(number).ok().and_then(|number| outcomes.get_mut(number)) {
                *outcome = Stored::New { event_ids: row.get(1) };
            }
        }
        outcomes
    }
}
