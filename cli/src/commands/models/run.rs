//! `millrace models run`: the database brought up to the files.

use std::time::Duration;

use millrace::Result;
use millrace_models::deploy;
use millrace_models::model::Kind;
use millrace_models::project::Project;
use millrace_models::transform::{self, Bounds, Limits};
use uuid::Uuid;

use super::{Outcome, backfill, chosen, connect, dead_letters, deadline};
use crate::arguments::RunModels;
use crate::checkout::Checkout;
use crate::environment::Environment;
use crate::terminal::{Terminal, figure};

/// How models ended.
#[derive(Debug, Default)]
struct Counts {
    ok: u64,
    warned: u64,
    failed: u64,
    skipped: u64,
}

pub async fn run(
    arguments: &RunModels,
    project: &Project,
    checkout: &Checkout,
    terminal: &mut Terminal,
) -> Result<Outcome> {
    let models = chosen(project, &arguments.models)?;
    let environment = Environment::load(checkout)?;
    let letters = dead_letters(&environment).await?;
    let mut connection = connect(checkout)?;
    for problem in project.problems() {
        terminal.bad(problem);
    }
    let mut deployment = Box::pin(deploy::deploy(&mut connection, project, deadline())).await?;
    if arguments.full_refresh {
        for model in models.iter().filter(|model| model.kind == Kind::Fact) {
            // That its table cannot follow is what a rebuild is for.
            let other = deployment.stopped.get(&model.name).filter(|error| error.code() != "model_changed");
            if other.is_none() {
                backfill::history(&mut connection, project, model, &letters, true, None, terminal).await?;
            }
        }
        deployment = Box::pin(deploy::deploy(&mut connection, project, deadline())).await?;
    }
    for name in &deployment.changed {
        terminal.line(&format!("  deployed  {name}"));
    }
    let limits = Limits {
        bounds: Bounds::default(),
        linger: Duration::ZERO,
        last_claim: deadline(),
        deadline: deadline(),
    };
    let summary =
        Box::pin(transform::run(&mut connection, project, &letters, Uuid::now_v7(), limits)).await?;
    for (model, rows) in &summary.rows {
        terminal.line(&format!("  ran       {model}  {} rows", figure(*rows)));
    }
    for waiting in &summary.waiting {
        terminal.bad(&format!("  waits     {}/{}: {}", waiting.source, waiting.event_type, waiting.reason));
    }
    let mut counts = Counts::default();
    for model in &models {
        if let Some(error) = deployment.stopped.get(&model.name) {
            let skipped = error.code() == "model_upstream_stopped";
            let word = if skipped { "skipped" } else { "failed" };
            terminal.bad(&format!("  {word:<9} {}: {}", model.name, error.chain()));
            *(if skipped { &mut counts.skipped } else { &mut counts.failed }) += 1;
            continue;
        }
        let mut good = true;
        if model.kind == Kind::Fact && !arguments.no_backfill {
            let caught_up =
                backfill::history(&mut connection, project, model, &letters, false, None, terminal).await;
            match caught_up {
                Ok(Some(Outcome::TimedOut)) => return Ok(Outcome::TimedOut),
                Ok(_) => {}
                Err(error) => {
                    terminal.bad(&format!("  failed    {}: {}", model.name, error.chain()));
                    good = false;
                }
            }
        }
        let waits = summary.waiting.iter().any(|waiting| {
            model.routes.iter().any(|route| route.takes(&waiting.source, &waiting.event_type))
        });
        *(match (good, waits) {
            (true, false) => &mut counts.ok,
            (true, true) => &mut counts.warned,
            (false, _) => &mut counts.failed,
        }) += 1;
    }
    counts.failed += project.broken.len() as u64;
    if summary.quarantined > 0 {
        terminal.line(&format!(
            "{} events were quarantined: they are in the dead-letter queue",
            figure(summary.quarantined)
        ));
    }
    let Counts { ok, warned, failed, skipped } = counts;
    let good = failed == 0 && skipped == 0 && summary.waiting.is_empty();
    terminal.verdict(good, &format!("{ok} ok, {warned} warned, {failed} failed, {skipped} skipped"));
    Ok(if good { Outcome::Done } else { Outcome::Bad })
}
