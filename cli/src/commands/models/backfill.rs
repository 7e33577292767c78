//! `millrace models backfill`, and the same as a part of `run`.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use millrace::Result;
use millrace::database::Connection;
use millrace::dead_letter::DeadLetterQueue;
use millrace_models::backfill::{self, Options, Progress, Target, target_for};
use millrace_models::deploy;
use millrace_models::model::{Kind, Model};
use millrace_models::project::Project;
use millrace_models::transform::Bounds;
use uuid::Uuid;

use super::{Outcome, connect, dead_letters, deadline, find};
use crate::arguments::Backfill;
use crate::checkout::Checkout;
use crate::commands::asked_to_stop;
use crate::environment::Environment;
use crate::terminal::{Terminal, figure};

pub async fn run(
    arguments: &Backfill,
    project: &Project,
    checkout: &Checkout,
    terminal: &mut Terminal,
) -> Result<Outcome> {
    let model = find(project, &arguments.model)?;
    if model.kind != Kind::Fact {
        terminal.bad(&format!(
            "{} is a {}: only facts have a history of events",
            model.name,
            model.kind.name()
        ));
        return Ok(Outcome::Unable);
    }
    let environment = Environment::load(checkout)?;
    let letters = dead_letters(&environment).await?;
    let mut connection = connect(checkout)?;
    let deployment = Box::pin(deploy::deploy(&mut connection, project, deadline())).await?;
    if let Some(error) = deployment.stopped.get(&model.name)
        && !(arguments.full_refresh && error.code() == "model_changed")
    {
        terminal.bad(&error.chain());
        return Ok(Outcome::Bad);
    }
    let outcome =
        history(&mut connection, project, model, &letters, arguments.full_refresh, arguments.rate, terminal)
            .await?;
    if outcome.is_none() {
        terminal.good(&format!("{} has seen everything", model.name));
    }
    Ok(outcome.unwrap_or(Outcome::Done))
}

/// Runs `model` over what it has not seen, with progress; `None` when there is nothing.
pub async fn history(
    connection: &mut Connection,
    project: &Project,
    model: &Model,
    letters: &DeadLetterQueue,
    full_refresh: bool,
    rate: Option<u32>,
    terminal: &mut Terminal,
) -> Result<Option<Outcome>> {
    let unseen = Box::pin(backfill::unseen(connection, model, deadline())).await?;
    let Some(target) = target_for(&unseen, full_refresh) else { return Ok(None) };
    let bar = bar(terminal, &model.name);
    let mut last = Progress::default();
    let options =
        Options { target, bounds: Bounds::default(), events_per_second: rate, deadline: deadline() };
    let work = Box::pin(backfill::backfill(
        connection,
        project,
        model,
        letters,
        Uuid::now_v7(),
        options,
        |progress| {
            bar.set_length(progress.events as u64);
            bar.set_position(progress.events_done as u64);
            last = *progress;
        },
    ));
    let finished = tokio::select! {
        finished = work => Some(finished?),
        stop = asked_to_stop() => { stop?; None }
    };
    bar.finish_and_clear();
    let how = if target == Target::Rebuild { "rebuilt" } else { "caught up" };
    let counts = format!(
        "{} events, {} rows, {} quarantined",
        figure(last.events_done),
        figure(last.rows),
        figure(last.quarantined)
    );
    match finished {
        Some(true) => {
            terminal.good(&format!("  {how:<9} {}  {counts}", model.name));
            Ok(Some(Outcome::Done))
        }
        _ => {
            terminal.bad(&format!("  stopped   {}  {counts}; run it again to go on", model.name));
            Ok(Some(Outcome::TimedOut))
        }
    }
}

fn bar(terminal: &Terminal, model: &str) -> ProgressBar {
    let target = match terminal.is_interactive() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(None, target).with_message(model.to_owned());
    let style = ProgressStyle::with_template("  {msg} {wide_bar} {human_pos}/{human_len} events, {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
