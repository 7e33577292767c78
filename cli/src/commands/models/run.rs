//! `millrace models run`: the database brought up to the files.

use std::time::Duration;

use millrace::{Code, Result};
use millrace_models::deploy::{self, Deployment};
use millrace_models::model::{Model, ModelKind};
use millrace_models::project::Project;
use millrace_models::refresh::{self, RefreshLimits};
use millrace_models::transform::{self, ClaimBounds, TransformLimits, TransformSummary, WaitingRoute};
use uuid::Uuid;

use super::backfill::{BackfillRun, check_has_history};
use super::connect::{connect, dead_letter_queue, deadline};
use super::select::select;
use crate::arguments::models::RunModels;
use crate::checkout::Checkout;
use crate::commands::CommandOutcome;
use crate::commands::Stop;
use crate::environment::Environment;
use crate::terminal::{Terminal, counted};

/// How long a refresh waits for a lock that others hold.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// How models ended.
#[derive(Debug, Default)]
struct Counts {
    ok: u64,
    warned: u64,
    failed: u64,
    skipped: u64,
    /// Of the skipped: another run refreshes them, so nothing is wrong.
    busy: u64,
}

pub async fn run(
    arguments: &RunModels,
    project: &Project,
    checkout: &Checkout,
    terminal: &mut Terminal,
) -> Result<CommandOutcome> {
    let models = select(project, &arguments.models)?;
    if arguments.full_refresh {
        models.iter().try_for_each(|model| check_has_history(model))?;
    }
    let environment = Environment::load(checkout)?;
    let dead_letters = dead_letter_queue(&environment).await?;
    let mut connection = connect(checkout)?;
    let mut stop = Stop::listen()?;
    for problem in project.problems() {
        terminal.bad(problem);
    }
    let mut counts = Counts::default();
    let Some(mut deployment) =
        stop.unless_asked(Box::pin(deploy::deploy(&mut connection, project, deadline()))).await?
    else {
        return Ok(stopped(terminal));
    };
    let mut changed = std::mem::take(&mut deployment.changed);
    if arguments.full_refresh {
        for model in &models {
            // A rebuild replaces a table that cannot be altered.
            let other =
                deployment.stopped.get(&model.name).filter(|error| error.code() != Code::ModelChanged);
            if other.is_some() {
                continue;
            }
            let backfill = BackfillRun {
                connection: &mut connection,
                project,
                dead_letters: &dead_letters,
                stop: &mut stop,
                full_refresh: true,
                rate: None,
            };
            if Box::pin(backfill.run(model, terminal)).await? == Some(CommandOutcome::TimedOut) {
                return Ok(CommandOutcome::TimedOut);
            }
        }
        let again = stop.unless_asked(Box::pin(deploy::deploy(&mut connection, project, deadline()))).await?;
        let Some(again) = again else { return Ok(stopped(terminal)) };
        deployment = again;
        changed.append(&mut deployment.changed);
    }
    for name in &changed {
        terminal.line(&format!("  deployed  {name}"));
    }
    let limits = TransformLimits {
        bounds: ClaimBounds::default(),
        idle_poll: Duration::ZERO,
        last_claim: deadline(),
        deadline: deadline(),
    };
    let work = Box::pin(transform::run(&mut connection, project, &dead_letters, Uuid::now_v7(), limits));
    let Some(summary) = stop.unless_asked(work).await? else { return Ok(stopped(terminal)) };
    for (model, rows) in &summary.rows {
        terminal.line(&format!("  ran       {model}  {}", counted(*rows, "row", "rows")));
    }
    for model in &models {
        if let Some(error) = deployment.stopped.get(&model.name) {
            let skipped = error.code() == Code::ModelUpstreamStopped;
            let word = if skipped { "skipped" } else { "failed" };
            terminal.bad(&format!("  {word:<9} {}: {}", model.name, error.chain()));
            *(if skipped { &mut counts.skipped } else { &mut counts.failed }) += 1;
            continue;
        }
        let mut good = true;
        if model.kind == ModelKind::Fact && !arguments.no_backfill {
            let backfill = BackfillRun {
                connection: &mut connection,
                project,
                dead_letters: &dead_letters,
                stop: &mut stop,
                full_refresh: false,
                rate: None,
            };
            match Box::pin(backfill.run(model, terminal)).await {
                Ok(Some(CommandOutcome::TimedOut)) => return Ok(CommandOutcome::TimedOut),
                Ok(_) => {}
                Err(error) => {
                    terminal.bad(&format!("  failed    {}: {}", model.name, error.chain()));
                    good = false;
                }
            }
        }
        let waits = summary.waiting.iter().any(|waiting| takes(model, waiting));
        *(match (good, waits) {
            (true, false) => &mut counts.ok,
            (true, true) => &mut counts.warned,
            (false, _) => &mut counts.failed,
        }) += 1;
    }
    let limits = RefreshLimits { lock_timeout: LOCK_TIMEOUT, last_start: deadline(), deadline: deadline() };
    let work = Box::pin(refresh::run(&mut connection, project, Uuid::now_v7(), limits));
    let Some(refreshed) = stop.unless_asked(work).await? else { return Ok(stopped(terminal)) };
    for (model, rows) in &refreshed.refreshed {
        terminal.line(&format!("  refreshed {model}  {}", counted(*rows, "row", "rows")));
    }
    // Models that are not deployed were printed before; the others count as deployed.
    for (model, reason) in
        refreshed.failed.iter().filter(|(model, _)| !deployment.stopped.contains_key(*model))
    {
        terminal.bad(&format!("  failed    {model}: {reason}"));
        counts.failed += 1;
        counts.ok -= u64::from(models.iter().any(|chosen| chosen.name == *model));
    }
    for (model, reason) in
        refreshed.skipped.iter().filter(|(model, _)| !deployment.stopped.contains_key(*model))
    {
        terminal.note(&format!("  skipped   {model}: {reason}"));
        counts.skipped += 1;
        counts.busy += u64::from(refreshed.busy.contains(model));
        counts.ok -= u64::from(models.iter().any(|chosen| chosen.name == *model));
    }
    for waiting in &summary.waiting {
        let reason = reason(project, &deployment, waiting);
        terminal.bad(&format!("  waits     {}/{}: {reason}", waiting.source, waiting.event_type));
    }
    let everything = arguments.models.is_empty();
    if everything {
        counts.failed += project.broken.len() as u64;
    }
    note(&summary, terminal);
    let Counts { ok, warned, failed, skipped, busy } = counts;
    let nothing_waits = match everything {
        true => summary.waiting.is_empty(),
        false => warned == 0,
    };
    let good = failed == 0 && skipped == busy && nothing_waits;
    terminal.status_line(good, &format!("{ok} ok, {warned} warned, {failed} failed, {skipped} skipped"));
    Ok(if good { CommandOutcome::Done } else { CommandOutcome::Bad })
}

fn takes(model: &Model, waiting: &WaitingRoute) -> bool {
    model.routes.iter().any(|route| route.takes(&waiting.source, &waiting.event_type))
}

/// Why events wait; a model that was not deployed has said its own reason already.
fn reason(project: &Project, deployment: &Deployment, waiting: &WaitingRoute) -> String {
    let stopped = project
        .facts_for(&waiting.source, &waiting.event_type)
        .find(|model| deployment.stopped.contains_key(&model.name));
    match stopped {
        Some(model) => format!("until {} can be deployed", model.name),
        None => waiting.reason.clone(),
    }
}

/// What else happened to events.
fn note(summary: &TransformSummary, terminal: &mut Terminal) {
    if summary.retracted > 0 {
        let batches = counted(summary.retracted, "batch", "batches");
        terminal.line(&format!("The facts of {batches} of replaced files were retracted."));
    }
    if summary.quarantined > 0 {
        let events = counted(summary.quarantined, "event was", "events were");
        terminal.line(&format!("{events} quarantined: see the dead-letter queue."));
    }
}

fn stopped(terminal: &mut Terminal) -> CommandOutcome {
    terminal.bad("stopped; committed work is kept, run it again to continue");
    CommandOutcome::TimedOut
}
