//! `millrace models …`

mod backfill;
mod list;
mod plan;
mod run;
mod test;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use millrace::config::nearest::did_you_mean;
use millrace::database::{Connection, Settings};
use millrace::dead_letter::DeadLetterQueue;
use millrace::{Error, Kind, Result};
use millrace_models::graph;
use millrace_models::model::Model;
use millrace_models::project::Project;

use super::Outcome;
use crate::arguments::{GraphFormat, Models, ModelsCommand};
use crate::checkout::Checkout;
use crate::environment::{self, Environment};
use crate::terminal::{Terminal, counted};

/// Nobody waits longer for a command; whatever is stopped goes on where it was.
const TIMEOUT: Duration = Duration::from_secs(24 * 3_600);
/// As the functions have it.
const MESSAGE_BYTES: usize = 1 << 20;

pub async fn run(arguments: &Models, checkout: &Checkout, terminal: &mut Terminal) -> Result<Outcome> {
    let given =
        arguments.pipeline.clone().or_else(|| std::env::var_os("MILLRACE_PIPELINE").map(PathBuf::from));
    let folder = given.unwrap_or_else(|| checkout.pipeline());
    if !folder.is_dir() {
        let message = format!("{} is no folder: it has models/ in it", folder.display());
        return Err(Error::new(Kind::Config, message).with_code("pipeline_missing"));
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
            // Beside the picture, which another program may be reading.
            for problem in project.problems() {
                Terminal::stderr().bad(problem);
            }
            Ok(if project.broken.is_empty() { Outcome::Done } else { Outcome::Bad })
        }
        ModelsCommand::List => list::run(&project, &mut connect(checkout)?, terminal).await,
        ModelsCommand::Plan => plan::run(&project, &mut connect(checkout)?, terminal).await,
        ModelsCommand::Test { models: names } => {
            let models = chosen(&project, names)?;
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

fn check(project: &Project, terminal: &mut Terminal) -> Outcome {
    let problems = project.problems();
    for problem in &problems {
        terminal.bad(problem);
    }
    if problems.is_empty() {
        let models = counted(project.models.len() as u64, "model", "models");
        terminal.good(&format!("{models}, nothing wrong"));
        return Outcome::Done;
    }
    Outcome::Bad
}

/// A connection of the database's owner; what it makes belongs to millrace_transform all the same.
fn connect(checkout: &Checkout) -> Result<Connection> {
    let url = environment::database_url(checkout)?;
    Ok(Connection::new(Settings::parse(&url)?.application_name("millrace models")))
}

/// The queue that events go to which a model cannot take.
async fn dead_letter_queue(environment: &Environment) -> Result<DeadLetterQueue> {
    let clients = environment.clients().await?;
    Ok(DeadLetterQueue::new(
        clients.sqs,
        clients.s3,
        environment.dead_letter_queue_url.clone(),
        environment.bucket.clone(),
        MESSAGE_BYTES,
    ))
}

/// The models of these names; all of them without a name.
fn chosen<'p>(project: &'p Project, names: &[String]) -> Result<Vec<&'p Model>> {
    if names.is_empty() {
        return Ok(project.models.iter().collect());
    }
    let mut models = Vec::new();
    for name in names {
        let model = find(project, name)?;
        if !models.contains(&model) {
            models.push(model);
        }
    }
    Ok(models)
}

fn find<'p>(project: &'p Project, name: &str) -> Result<&'p Model> {
    project.model(name).ok_or_else(|| {
        let broken = project.broken.iter().find(|broken| broken.name == name);
        let message = match broken {
            Some(broken) => broken.problems.join("\n"),
            None => {
                let names = || project.models.iter().map(|model| model.name.as_str());
                let hint = match did_you_mean(name, names()) {
                    hint if hint.is_empty() && !project.models.is_empty() => {
                        format!("; there are {}", names().collect::<Vec<_>>().join(", "))
                    }
                    hint => hint,
                };
                format!("no model is called `{name}`{hint}")
            }
        };
        Error::new(Kind::Config, message).with_code("model_unknown")
    })
}

fn deadline() -> Instant {
    Instant::now() + TIMEOUT
}
