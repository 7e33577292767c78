//! Redriving dead letters of kind `event`: the current version of the model that refused the event runs over it again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use millrace::Result;
use millrace::database::Connection;
use millrace::dead_letter::redrive::{RedriveOutcome, RedriveResult};
use millrace::dead_letter::{DeadLetter, DeadLetterKind, Reason};
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use crate::deploy::{self, Deployment};
use crate::facts::dead_letters as event_dead_letters;
use crate::facts::ranges::{EventRange, RunEvents};
use crate::facts::run::{self, FactTable};
use crate::model::{EventRoute, Model};
use crate::project::Project;
use crate::runs::{RunActivity, RunRecord};
use crate::sql::{Parameter, Statement};
use crate::{notify, quarantine};

const PROBE: Statement = Statement::new("lock quarantined events", include_str!("probe.sql"));
const DELETE_PROBES: Statement =
    Statement::new("delete probes of quarantined events", include_str!("delete_probes.sql"));
const ASKED: Statement = Statement::new("look up quarantined events", include_str!("find_events.sql"));
const IS_REBUILDING: Statement = Statement::new("look for a rebuild", include_str!("is_rebuilding.sql"));
const DELETE_EVENTS: Statement = Statement::new("delete accepted events", include_str!("delete_events.sql"));

/// The event of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct EventId {
    batch_id: Uuid,
    event_id: i64,
}

/// Dead letters of one model and route, which share a transaction.
type Groups<'l> = BTreeMap<(&'l str, &'l str, &'l str), Vec<(usize, EventId)>>;

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
                .push((index, EventId { batch_id, event_id }));
        }
    }
    for ((name, source, event_type), members) in groups {
        let events: Vec<EventId> = members.iter().map(|(_, event)| *event).collect();
        let of_group = match find_model(project, &deployment, name, source, event_type) {
            Err(outcome) => vec![outcome; members.len()],
            Ok(model) => {
                let route = EventRoute { source: source.to_owned(), event_type: Some(event_type.to_owned()) };
                let group = Group { model, route, deployment: &deployment, run_id };
                match Box::pin(group.redrive(connection, &events, deadline)).await {
                    Ok(outcomes) => outcomes,
                    // A temporary failure affects every group.
                    Err(error) if error.kind().is_temporary() => return Err(error),
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
    route: EventRoute,
    deployment: &'r Deployment,
    run_id: Uuid,
}

impl Group<'_> {
    /// Redrives one group in one transaction, which also deletes accepted events from the quarantine.
    async fn redrive(
        &self,
        connection: &mut Connection,
        events: &[EventId],
        deadline: Instant,
    ) -> Result<Vec<RedriveOutcome>> {
        connection
            .run_tx("redrive dead letters of events", deadline, async |transaction| {
                run::begin(transaction, &[self.model]).await?;
                let asked = Asked::new(&self.model.name, events);
                PROBE.execute(transaction, &asked.typed()).await?;
                DELETE_PROBES.execute(transaction, &asked.typed()).await?;
                let rebuilding = IS_REBUILDING.query(transaction, &[(&self.model.name, Type::TEXT)]).await?;
                if !rebuilding.is_empty() {
                    let message = format!("facts.{} is being rebuilt, with this event", self.model.name);
                    return Ok(vec![RedriveOutcome::Pending { message }; events.len()]);
                }
                let known = ASKED.query(transaction, &asked.typed()).await?;
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
        events: &[EventId],
        waiting: &[usize],
        known: &[Row],
    ) -> Result<HashMap<EventId, Reason>> {
        let mut ranges: Vec<EventRange> = waiting
            .iter()
            .map(|index| EventRange {
                batch_id: events[*index].batch_id,
                received_at: known[*index].get("received_at"),
                first_id: events[*index].event_id,
                last_id: events[*index].event_id,
            })
            .collect();
        ranges.sort_by_key(|range| (range.batch_id, range.first_id));
        ranges.dedup();
        let count = ranges.len() as u64;
        let tables = [FactTable::deployed(self.model, &self.deployment.catalog)];
        let offered = RunEvents { ranges, count };
        let run = RunRecord { run_id: self.run_id, activity: RunActivity::Redrive };
        let written = run::write(transaction, &tables, &offered, run).await?;
        let refused: HashMap<EventId, Reason> = written
            .refused()
            .map(|(model, refused)| {
                let event = EventId { batch_id: refused.batch_id, event_id: refused.event_id };
                (event, event_dead_letters::reason(model, &refused.refusal))
            })
            .collect();
        let offered = offered.ranges.iter();
        let taken: Vec<EventId> = offered
            .map(|range| EventId { batch_id: range.batch_id, event_id: range.first_id })
            .filter(|event| !refused.contains_key(event))
            .collect();
        let asked = Asked::new(&self.model.name, &taken);
        DELETE_EVENTS.execute(transaction, &asked.typed()).await?;
        let mut batches: Vec<Uuid> = taken.iter().map(|event| event.batch_id).collect();
        batches.dedup();
        quarantine::recount(transaction, &batches).await?;
        let bad = refused.len() as u64;
        notify::transformed(transaction, &self.route, batches.len(), count, bad, &written.rows).await?;
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
    fn new(model: &'m str, events: &[EventId]) -> Self {
        Asked {
            model,
            batches: events.iter().map(|event| event.batch_id).collect(),
            events: events.iter().map(|event| event.event_id).collect(),
        }
    }

    fn typed(&self) -> [Parameter<'_>; 3] {
        [(&self.model, Type::TEXT), (&self.batches, Type::UUID_ARRAY), (&self.events, Type::INT8_ARRAY)]
    }
}
