//! Redriving dead letters of kind `event`: the current version of the model that refused the event runs over it again.

use std::collections::{BTreeMap, HashSet};
use std::time::{Instant, SystemTime};

use millrace::database::Connection;
use millrace::database::failure::from_postgres;
use millrace::dead_letter::redrive::{RedriveOutcome, RedriveResult};
use millrace::dead_letter::{DeadLetter, DeadLetterKind, Reason};
use millrace::{Error, Kind, Result};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use crate::deploy::{self, Deployment};
use crate::facts::apply::apply;
use crate::facts::ranges::EventRange;
use crate::facts::statement;
use crate::model::{Model, Route};
use crate::project::Project;
use crate::runs::{self, Activity, Done};
use crate::sql::relation;
use crate::transform::{claim, dead_letters as event_dead_letters};
use crate::{notify, quarantine, work};

const PROBE: &str = include_str!("probe.sql");
const DELETE_PROBES: &str = include_str!("delete_probes.sql");
const ASKED: &str = include_str!("find_events.sql");
const IS_REBUILDING: &str = include_str!("is_rebuilding.sql");
const DELETE_EVENTS: &str = include_str!("delete_events.sql");

/// The event of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Event {
    batch_id: Uuid,
    event_id: i64,
}

/// Dead letters of one model and route, which share a transaction.
type Groups<'l> = BTreeMap<(&'l str, &'l str, &'l str), Vec<(usize, Event)>>;

/// Redrives dead letters of kind `event`, and returns the outcome of each, in their order.
///
/// # Errors
/// When the models cannot be deployed or the database cannot be reached. The outcome of all dead letters is then unknown.
pub async fn redrive(
    connection: &mut Connection,
    project: &Project,
    run_id: Uuid,
    dead_letters: &[DeadLetter],
    deadline: Instant,
) -> Result<Vec<RedriveResult>> {
    let deployment = Box::pin(deploy::deploy(connection, project, deadline)).await?;
    let mut outcomes: Vec<RedriveOutcome> =
        dead_letters.iter().map(|_| waits("the dead letter names no event and model")).collect();
    let mut groups = Groups::new();
    for (index, dead_letter) in dead_letters.iter().enumerate() {
        let origin = &dead_letter.origin;
        if let (
            DeadLetterKind::Event,
            Some(model),
            Some(source),
            Some(event_type),
            Some(batch_id),
            Some(event_id),
        ) = (
            dead_letter.kind,
            &dead_letter.reason.model,
            &dead_letter.source,
            &dead_letter.event_type,
            origin.batch_id,
            origin.event_id,
        ) {
            groups
                .entry((model, source, event_type))
                .or_default()
                .push((index, Event { batch_id, event_id }));
        }
    }
    for ((name, source, event_type), members) in groups {
        let events: Vec<Event> = members.iter().map(|(_, event)| *event).collect();
        let of_group = match find_model(project, &deployment, name, source, event_type) {
            Err(outcome) => vec![outcome; members.len()],
            Ok(model) => {
                let route = Route { source: source.to_owned(), event_type: Some(event_type.to_owned()) };
                let group = Group { model, route, deployment: &deployment, run_id };
                match Box::pin(group.redrive(connection, &events, deadline)).await {
                    Ok(outcomes) => outcomes,
                    // A temporary failure affects every group.
                    Err(error) if matches!(error.kind(), Kind::Transient | Kind::Conflict) => {
                        return Err(error);
                    }
                    Err(error) => vec![RedriveOutcome::Pending { message: error.chain() }; members.len()],
                }
            }
        };
        for ((index, _), outcome) in members.into_iter().zip(of_group) {
            outcomes[index] = outcome;
        }
    }
    Ok(dead_letters
        .iter()
        .zip(outcomes)
        .map(|(dead_letter, outcome)| RedriveResult { id: dead_letter.id, outcome })
        .collect())
}

fn find_model<'p>(
    project: &'p Project,
    deployment: &Deployment,
    name: &str,
    source: &'p str,
    event_type: &'p str,
) -> Result<&'p Model, RedriveOutcome> {
    if let Some(message) = deployment.why_waits(project, source, event_type) {
        return Err(RedriveOutcome::Pending { message });
    }
    if let Some(error) = deployment.stopped.get(name) {
        return Err(RedriveOutcome::Pending { message: format!("the model {name}: {}", error.chain()) });
    }
    project
        .facts_for(source, event_type)
        .find(|model| model.name == name)
        .ok_or_else(|| waits(&format!("no model {name} reads events of {source}/{event_type}")))
}

struct Group<'r> {
    model: &'r Model,
    route: Route,
    deployment: &'r Deployment,
    run_id: Uuid,
}

impl Group<'_> {
    /// Redrives one group in one transaction, which also deletes accepted events from the quarantine.
    async fn redrive(
        &self,
        connection: &mut Connection,
        events: &[Event],
        deadline: Instant,
    ) -> Result<Vec<RedriveOutcome>> {
        connection
            .run_tx("redrive dead letters of events", deadline, async |transaction| {
                work::begin(transaction).await?;
                claim::lock_models(transaction, &[self.model]).await?;
                let asked = Asked::new(&self.model.name, events);
                asked.execute(transaction, PROBE).await?;
                asked.execute(transaction, DELETE_PROBES).await?;
                let rebuilding = transaction
                    .query_typed(IS_REBUILDING, &[(&self.model.name, Type::TEXT)])
                    .await
                    .map_err(|error| from_postgres("look for a rebuild", error))?;
                if !rebuilding.is_empty() {
                    let message = format!("facts.{} is being rebuilt, with this event", self.model.name);
                    return Ok(vec![RedriveOutcome::Pending { message }; events.len()]);
                }
                let known = asked.query(transaction, ASKED).await?;
                let mut outcomes: Vec<RedriveOutcome> = known.iter().map(outcome_before).collect();
                let waiting: Vec<usize> =
                    (0..events.len()).filter(|index| outcomes[*index] == RedriveOutcome::Redriven).collect();
                if waiting.is_empty() {
                    return Ok(outcomes);
                }
                let refused = self.apply(transaction, events, &waiting, &known).await?;
                for index in waiting {
                    if let Some(reason) = refused.get(&events[index]) {
                        outcomes[index] = RedriveOutcome::Failed { reason: reason.clone() };
                    }
                }
                // A second dead letter of the same event is a duplicate of the first.
                let mut seen = HashSet::new();
                for (event, outcome) in events.iter().zip(&mut outcomes) {
                    if !seen.insert(*event) && *outcome == RedriveOutcome::Redriven {
                        *outcome = RedriveOutcome::Duplicate;
                    }
                }
                Ok(outcomes)
            })
            .await
    }

    /// Runs the model over the quarantined events, and returns those that it refused with the reasons.
    async fn apply(
        &self,
        transaction: &Transaction<'_>,
        events: &[Event],
        waiting: &[usize],
        known: &[Row],
    ) -> Result<std::collections::HashMap<Event, Reason>> {
        let started = Instant::now();
        let name = &self.model.name;
        let mut offered: Vec<(Event, SystemTime)> =
            waiting.iter().map(|index| (events[*index], known[*index].get("received_at"))).collect();
        offered.sort_by_key(|(event, _)| (event.batch_id, event.event_id));
        offered.dedup_by_key(|(event, _)| *event);
        let ranges: Vec<EventRange> = offered
            .iter()
            .map(|&(Event { batch_id, event_id }, received_at)| EventRange {
                batch_id,
                received_at,
                first_id: event_id,
                last_id: event_id,
            })
            .collect();
        let columns = self.deployment.catalog.query_columns(name);
        let insert = statement::insert(self.model, &relation(name), &columns, None);
        let applied = apply(transaction, self.model, &insert, &ranges, u64::MAX).await?;
        let refused: std::collections::HashMap<Event, Reason> = applied
            .refused
            .iter()
            .map(|refused| {
                let event = Event { batch_id: refused.batch_id, event_id: refused.event_id };
                (event, event_dead_letters::reason(self.model, &refused.refusal))
            })
            .collect();
        let taken: Vec<Event> =
            offered.iter().map(|(event, _)| *event).filter(|event| !refused.contains_key(event)).collect();
        Asked::new(name, &taken).execute(transaction, DELETE_EVENTS).await?;
        let mut batches: Vec<Uuid> = taken.iter().map(|event| event.batch_id).collect();
        batches.dedup();
        quarantine::recount(transaction, &batches).await?;
        let done = Done {
            event_count: offered.len() as u64,
            row_count: applied.row_count,
            quarantined_count: refused.len() as u64,
            duration: started.elapsed(),
        };
        runs::count(transaction, self.run_id, name, Activity::Redrive, &done).await?;
        let rows = [(name.clone(), applied.row_count)].into();
        let (count, bad) = (offered.len() as u64, refused.len() as u64);
        notify::transformed(transaction, &self.route, batches.len(), count, bad, &rows).await?;
        Ok(refused)
    }
}

/// The outcome of a dead letter before its model runs. [`RedriveOutcome::Redriven`]: the model must run.
fn outcome_before(known: &Row) -> RedriveOutcome {
    let is_processed: Option<bool> = known.get("is_processed");
    let is = |name: &str| known.get::<_, Option<bool>>(name).unwrap_or(false);
    match is_processed {
        None => waits("the batch of the event is no longer in staging.batches"),
        _ if is("is_superseded") => {
            RedriveOutcome::Void { message: "a newer version of the event's file replaced it".to_owned() }
        }
        _ if is("is_quarantined") && !is("is_stored") => waits("the event is no longer in staging.events"),
        _ if is("is_quarantined") => RedriveOutcome::Redriven,
        // The transaction that refused it was rolled back. The next transform processes it, and sends a dead letter if it fails.
        Some(false) => RedriveOutcome::Void {
            message: "its batch is unprocessed; the next transform processes it".to_owned(),
        },
        Some(true) => RedriveOutcome::Duplicate,
    }
}

/// The outcome if no model ran.
fn waits(why: &str) -> RedriveOutcome {
    RedriveOutcome::Pending { message: why.to_owned() }
}

/// Events of a model, as parameters.
struct Asked<'m> {
    model: &'m str,
    batches: Vec<Uuid>,
    events: Vec<i64>,
}

impl<'m> Asked<'m> {
    fn new(model: &'m str, events: &[Event]) -> Self {
        Asked {
            model,
            batches: events.iter().map(|event| event.batch_id).collect(),
            events: events.iter().map(|event| event.event_id).collect(),
        }
    }

    fn typed(&self) -> [(&(dyn ToSql + Sync), Type); 3] {
        [(&self.model, Type::TEXT), (&self.batches, Type::UUID_ARRAY), (&self.events, Type::INT8_ARRAY)]
    }

    async fn execute(&self, transaction: &Transaction<'_>, statement: &str) -> Result<()> {
        transaction.execute_typed(statement, &self.typed()).await.map_err(failure)?;
        Ok(())
    }

    async fn query(&self, transaction: &Transaction<'_>, statement: &str) -> Result<Vec<Row>> {
        transaction.query_typed(statement, &self.typed()).await.map_err(failure)
    }
}

fn failure(error: tokio_postgres::Error) -> Error {
    from_postgres("look up quarantined events", error)
}
