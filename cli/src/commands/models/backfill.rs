//! `millrace models backfill`, and the same as a part of `run`.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use millrace::database::Connection;
use millrace::dead_letter::DeadLetterQueue;
use millrace::{Code, Error, Kind, Result};
use millrace_models::backfill::{self, BackfillOptions, BackfillProgress, BackfillTarget, target_for};
use millrace_models::deploy;
use millrace_models::model::{Model, ModelKind};
use millrace_models::project::Project;
use millrace_models::transform::ClaimBounds;
use uuid::Uuid;

use super::connect::{connect, dead_letter_queue, deadline};
use super::select::find;
use crate::arguments::models::Backfill;
use crate::checkout::Checkout;
use crate::commands::CommandOutcome;
use crate::commands::Stop;
use crate::environment::Environment;
use crate::terminal::{Terminal, counted, figure};

pub async fn run(
    arguments: &Backfill,
    project: &Project,
    checkout: &Checkout,
    terminal: &mut Terminal,
) -> Result<CommandOutcome> {
    let model = find(project, &arguments.model)?;
    check_has_history(model)?;
    let environment = Environment::load(checkout)?;
    let dead_letters = dead_letter_queue(&environment).await?;
    let mut connection = connect(checkout)?;
    let deployment = Box::pin(deploy::deploy(&mut connection, project, deadline())).await?;
    if let Some(error) = deployment.stopped.get(&model.name)
        && !(arguments.full_refresh && error.code() == Code::ModelChanged)
    {
        terminal.bad(&format!("  failed    {}: {}", model.name, error.chain()));
        return Ok(CommandOutcome::Bad);
    }
    let backfill = BackfillRun {
        connection: &mut connection,
        project,
        dead_letters: &dead_letters,
        stop: &mut Stop::listen()?,
        full_refresh: arguments.full_refresh,
        rate: arguments.rate,
    };
    let outcome = backfill.run(model, terminal).await?;
    if outcome.is_none() {
        terminal.good(&format!("{} has seen everything", model.name));
    }
    Ok(outcome.unwrap_or(CommandOutcome::Done))
}

/// # Errors
/// When `model` is made from other models and not from events.
pub fn check_has_history(model: &Model) -> Result<()> {
    if model.kind == ModelKind::Fact {
        return Ok(());
    }
    let message = format!("{} is a {}: only facts can be backfilled", model.name, model.kind.name());
    Err(Error::new(Kind::Config, message).with_code(Code::ModelHasNoHistory))
}

/// The run of a model over the events that it has not seen.
pub struct BackfillRun<'a> {
    pub connection: &'a mut Connection,
    pub project: &'a Project,
    pub dead_letters: &'a DeadLetterQueue,
    pub stop: &'a mut Stop,
    pub full_refresh: bool,
    /// At most so many events a second.
    pub rate: Option<u32>,
}

impl BackfillRun<'_> {
    /// Runs `model` over what it has not seen, with progress; `None` when there is nothing.
    pub async fn run(self, model: &Model, terminal: &mut Terminal) -> Result<Option<CommandOutcome>> {
        let unseen = Box::pin(backfill::unseen(self.connection, model, deadline())).await?;
        let Some(target) = target_for(&unseen, self.full_refresh) else { return Ok(None) };
        let bar = bar(terminal, &model.name);
        let mut last = BackfillProgress::default();
        let options = BackfillOptions {
            target,
            bounds: ClaimBounds::default(),
            events_per_second: self.rate,
            deadline: deadline(),
        };
        let work = Box::pin(backfill::backfill(
            self.connection,
            self.project,
            model,
            self.dead_letters,
            Uuid::now_v7(),
            options,
            |progress| {
                bar.set_length(progress.events as u64);
                bar.set_position(progress.events_done as u64);
                last = *progress;
            },
        ));
        let finished = self.stop.unless_asked(work).await;
        bar.finish_and_clear();
        let finished = finished?;
        let (rows, quarantined) =
            (counted(last.rows, "row", "rows"), format!("{} quarantined", figure(last.quarantined)));
        if finished == Some(true) {
            let how = if target == BackfillTarget::Rebuild { "rebuilt" } else { "caught up" };
            let events = counted(last.events_done, "event", "events");
            terminal.good(&format!("  {how:<9} {}  {events}, {rows}, {quarantined}", model.name));
            return Ok(Some(CommandOutcome::Done));
        }
        terminal.bad(&format!(
            "  stopped   {}  after {} of {}; run it again to continue",
            model.name,
            figure(last.events_done),
            counted(last.events, "event", "events")
        ));
        Ok(Some(CommandOutcome::TimedOut))
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
