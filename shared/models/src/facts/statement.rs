//! Builds the statement that writes the facts of a model from its query.
//!
//! The query runs for every event separately: its `batch` has one row. The facts of an event therefore do not depend on the other
//! events of its claim, and a rebuild computes the same facts. PostgreSQL pulls the lateral query up into the scan of the events,
//! so this costs no more than one query over all of them.

use crate::columns::{EVENT_ID, RECEIVED_AT};
use crate::model::{Model, OnConflict};
use crate::sql::{identifier, identifiers};

/// The claimed events, as the alias `e`. Parameters: `$1` received_at, `$2` batch_id, `$3` and `$4` the first and last id of
/// each range. `offset 0` keeps the lateral scan: one scan of the primary key per range, in one partition.
pub const CLAIMED: &str = "unnest($1::timestamptz[], $2::uuid[], $3::int8[], $4::int8[])
    as u (received_at, batch_id, first_id, last_id)
cross join lateral (
    select events.id, events.source, events.event_type, events.payload, events.received_at, events.batch_id
    from staging.events
    where events.received_at = u.received_at
        and events.batch_id = u.batch_id
        and events.id between u.first_id and u.last_id
    offset 0
) as e";

/// The statement that writes the facts of the claimed events into `table` (quoted, with its schema), whose columns are
/// `columns` and the two columns above. `only` is a further condition on the rows of the query, which have the alias `q`.
pub fn insert(model: &Model, table: &str, columns: &[String], only: Option<&str>) -> String {
    let written = columns.iter().map(String::as_str).chain([RECEIVED_AT, EVENT_ID]);
    let written = identifiers(written);
    let condition = only.map(|only| format!("where {only}")).unwrap_or_default();
    let rows = format!(
        "select q.*, e.received_at as {RECEIVED_AT}, e.id as {EVENT_ID}, row_number() over () as _position
from {CLAIMED}
cross join lateral (
    with batch as not materialized (
        select e.id, e.source, e.event_type, e.payload, e.received_at, e.batch_id
    )
    select * from (
{query}
    ) as query
) as q
{condition}",
        query = model.query
    );
    if model.key.is_empty() {
        return format!("insert into {table} ({written})\nselect {written} from (\n{rows}\n) as made");
    }
    let key = identifiers(model.key.iter().map(String::as_str));
    // Write only the winner of each key, because a statement must not change a row twice. The rows are ordered by key first, so
    // that concurrent claims lock them in the same order.
    let (direction, wins) = match model.on_conflict {
        OnConflict::Update => ("desc", ">="),
        OnConflict::Ignore => ("asc", "<="),
    };
    let assignments: Vec<String> = columns
        .iter()
        .filter(|column| !model.key.contains(column))
        .map(String::as_str)
        .chain([RECEIVED_AT, EVENT_ID])
        .map(|column| {
            let column = identifier(column);
            format!("{column} = excluded.{column}")
        })
        .collect();
    format!(
        "insert into {table} as fact ({written})
select distinct on ({key}) {written} from (
{rows}
) as made
order by {key}, {RECEIVED_AT} {direction}, {EVENT_ID} {direction}, _position {direction}
on conflict ({key}) do update set {assignments}
where (excluded.{RECEIVED_AT}, excluded.{EVENT_ID}) {wins} (fact.{RECEIVED_AT}, fact.{EVENT_ID})",
        assignments = assignments.join(", ")
    )
}
