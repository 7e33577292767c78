//! `millrace models plan`

use millrace::Result;
use millrace::database::Connection;
use millrace_models::backfill::BackfillTarget;
use millrace_models::backfill::target_for;
use millrace_models::plan::{self, Action, PlanStep};
use millrace_models::project::Project;
use similar::{ChangeTag, TextDiff};

use super::connect::deadline;
use crate::commands::CommandOutcome;
use crate::terminal::{Terminal, counted};

pub async fn run(
    project: &Project,
    connection: &mut Connection,
    terminal: &mut Terminal,
) -> Result<CommandOutcome> {
    let steps = plan::plan(connection, project, deadline()).await?;
    for step in &steps {
        print(step, project, terminal);
    }
    for problem in project.problems() {
        terminal.bad(problem);
    }
    if plan::is_empty(&steps) && project.broken.is_empty() {
        terminal.good("Nothing to do: the database matches the files.");
    }
    let good = project.broken.is_empty() && !plan::needs_attention(&steps);
    Ok(if good { CommandOutcome::Done } else { CommandOutcome::Bad })
}

fn print(step: &PlanStep, project: &Project, terminal: &mut Terminal) {
    let title = format!("{} ({})", step.model, step.kind.name());
    match &step.action {
        Action::Unchanged if step.history.batches == 0 => return,
        Action::Unchanged => terminal.line(&format!("= {title}")),
        Action::Create => terminal.good(&format!("+ {title}: new")),
        Action::Change(words) => terminal.note(&format!("~ {title}: {}", words.join(", "))),
        Action::Breaking(words) => {
            terminal.bad(&format!("! {title}: breaking: {}", words.join("; ")));
            terminal.line(&format!("    needs `millrace models run {} --full-refresh`", step.model));
        }
        Action::Fails(error) => terminal.bad(&format!("! {title}: {}", error.chain())),
    }
    if let (Some(old), Some(model)) = (&step.deployed_query, project.model(&step.model)) {
        for change in TextDiff::from_lines(old.as_str(), model.query.as_str()).iter_all_changes() {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            terminal.line(&format!("    {sign} {}", change.value().trim_end()));
        }
    }
    if let Some(target) = target_for(&step.history, false) {
        let how = match target {
            BackfillTarget::InPlace => "in place, while new events are processed",
            BackfillTarget::Rebuild => "rebuilt into a new table, which then replaces the old one",
        };
        terminal.note(&format!(
            "    history: {} in {}, {how}",
            counted(step.history.events, "event", "events"),
            counted(step.history.batches, "batch", "batches")
        ));
    }
    if !step.downstream.is_empty() {
        terminal.note(&format!("    read by: {}", step.downstream.join(", ")));
    }
    if let Some(locks) = plan::locks(step) {
        terminal.note(&format!("    locks: {locks}"));
    }
}
