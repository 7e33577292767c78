//! `millrace models …`

mod backfill;
mod connect;
mod list;
mod plan;
mod run;
mod select;
mod test;

use std::path::PathBuf;

use millrace::{Code, Error, Kind, Result};
use millrace_models::graph;
use millrace_models::project::Project;

use self::connect::connect;
use self::select::select;
use super::CommandOutcome;
use crate::arguments::models::{GraphFormat, Models, ModelsCommand};
use crate::checkout::Checkout;
use crate::terminal::{TableExtent, Terminal, counted};

pub async fn run(arguments: &Models, checkout: &Checkout, terminal: &mut Terminal) -> Result<CommandOutcome> {
    let given =
        arguments.pipeline.clone().or_else(|| std::env::var_os("MILLRACE_PIPELINE").map(PathBuf::from));
    let folder = given.unwrap_or_else(|| checkout.pipeline());
    if !folder.is_dir() {
        let message = format!("{} is not a folder; name the folder that contains models/", folder.display());
        return Err(Error::new(Kind::Config, message).with_code(Code::PipelineMissing));
    }
    let project = Project::load(&folder)?;
    if project.models.is_empty() && project.broken.is_empty() {
        Terminal::stderr().line(&format!("{} has no models: write one", folder.join("models").display()));
    }
    match &arguments.command {
        ModelsCommand::Check => Ok(check(&project, terminal)),
        ModelsCommand::Graph { format } => {
            let text = match format {
                GraphFormat::Text => graph::text(&project),
                GraphFormat::Mermaid => graph::mermaid(&project),
                GraphFormat::Dot => graph::dot(&project),
            };
            terminal.line(text.trim_end());
            // To standard error: another program may read the graph from standard output.
            for problem in project.problems() {
                Terminal::stderr().bad(problem);
            }
            Ok(if project.broken.is_empty() { CommandOutcome::Done } else { CommandOutcome::Bad })
        }
        ModelsCommand::List { wide } => {
            list::run(&project, &mut connect(checkout)?, TableExtent::of(*wide), terminal).await
        }
        ModelsCommand::Plan => plan::run(&project, &mut connect(checkout)?, terminal).await,
        ModelsCommand::Test { models: names } => {
            let models = select(&project, names)?;
            for problem in project.problems() {
                terminal.bad(problem);
            }
            let broken = if names.is_empty() { project.broken.len() } else { 0 };
            test::run(&models, broken, &mut connect(checkout)?, terminal).await
        }
        ModelsCommand::Run(arguments) => run::run(arguments, &project, checkout, terminal).await,
        ModelsCommand::Backfill(arguments) => backfill::run(arguments, &project, checkout, terminal).await,
    }
}

fn check(project: &Project, terminal: &mut Terminal) -> CommandOutcome {
    let problems = project.problems();
    for problem in &problems {
        terminal.bad(problem);
    }
    if problems.is_empty() {
        let models = counted(project.models.len() as u64, "model", "models");
        terminal.good(&format!("{models}, nothing wrong"));
        return CommandOutcome::Done;
    }
    CommandOutcome::Bad
}
