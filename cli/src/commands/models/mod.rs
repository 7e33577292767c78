//! `millrace models …`

mod backfill;
mod list;
mod plan;
mod run;
mod test;

use std::path::PathBuf;
use std::time::{Duration, Instant};

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
use crate::terminal::Terminal;

/// Nobody waits longer for a command; whatever is stopped goes on where it was.
const PATIENCE: Duration = Duration::from_secs(24 * 3_600);
/// As the functions have it.
const MESSAGE_BYTES: usize = 1 << 20;

pub async fn run(arguments: &Models, checkout: &Checkout, terminal: &mut Terminal) -> Result<Outcome> {
    let given =
        arguments.pipeline.clone().or_else(|| std::env::var_os("MILLRACE_PIPELINE").map(PathBuf::from));
    let folder = given.unwrap_or_else(|| checkout.pipeline());
    let project = Project::load(&folder)?;
    match &arguments.command {
        ModelsCommand::Check => Ok(check(&project, terminal)),
        ModelsCommand::Graph { format } => {
            let text = match format {
                GraphFormat::Text => graph::text(&project),
                GraphFormat::Mermaid => graph::mermaid(&project),
                GraphFormat::Dot => graph::dot(&project),
            };
            terminal.line(text.trim_end());
            Ok(Outcome::Done)
        }
        ModelsCommand::List => list::run(&project, &mut connect(checkout)?, terminal).await,
        ModelsCommand::Plan => plan::run(&project, &mut connect(checkout)?, terminal).await,
        ModelsCommand::Test { models } => {
            let models = chosen(&project, models)?;
            test::run(&models, &mut connect(checkout)?, terminal).await
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
        terminal.good(&format!("{} models, nothing wrong", project.models.len()));
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
async fn dead_letters(environment: &Environment) -> Result<DeadLetterQueue> {
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
    names.iter().map(|name| find(project, name)).collect()
}

fn find<'p>(project: &'p Project, name: &str) -> Result<&'p Model> {
    project.model(name).ok_or_else(|| {
        let broken = project.broken.iter().find(|broken| broken.name == name);
        let message = match broken {
            Some(broken) => broken.problems.join("\n"),
            None => format!(
                "no model is called `{name}`; there are {}",
                project.models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>().join(", ")
            ),
        };
        Error::new(Kind::Config, message).with_code("model_unknown")
    })
}

fn deadline() -> Instant {
    Instant::now() + PATIENCE
}
