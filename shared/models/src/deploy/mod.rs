//! Creates and alters the tables and views that the models describe.
//!
//! - [`catalog`]: the relations and models in the database.
//! - [`shape`]: the columns of a query.
//! - [`table`]: a table created for its model, or altered to match it.
//!
//! Every model is deployed in its own transaction. A model that cannot be deployed (its SQL names a missing table, the
//! type of a column changed) is stopped, and so are the models that read it. The others are deployed.

pub mod catalog;
pub mod shape;
pub mod table;

use std::collections::BTreeMap;
use std::time::Instant;

use millrace::database::Connection;
use millrace::metrics::{self, names};
use millrace::{Code, Error, Kind, Result};
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;
use tracing::{error, info, warn};

use crate::model::{EventRoute, Model, ModelKind, Reference};
use crate::project::Project;
use crate::registry::{self, definition_hash};
use crate::sql::Statement;
use crate::{derived, work};
use catalog::Catalog;

const DEPLOYED_HASH: Statement =
    Statement::new("look up a model in pipeline.models", include_str!("deployed_hash.sql"));

/// The models as deployed in the database.
#[derive(Debug, Default)]
pub struct Deployment {
    pub catalog: Catalog,
    /// Models that do not run, by name, with the reason. The models that read them are included.
    pub stopped: BTreeMap<String, Error>,
    /// The relations that this call created or changed.
    pub changed: Vec<String>,
    /// A broken file has no valid `source`, so that it may apply to any event.
    pub nothing_runs: Option<Error>,
    /// The routes of broken files.
    broken_routes: Vec<EventRoute>,
}

impl Deployment {
    /// The reason why the events of a route wait, or `None`.
    pub fn why_waits(&self, project: &Project, source: &str, event_type: &str) -> Option<String> {
        if let Some(error) = &self.nothing_runs {
            return Some(error.chain());
        }
        if self.broken_routes.iter().any(|route| route.takes(source, event_type)) {
            return Some("a model of these events is broken: see `millrace models check`".to_owned());
        }
        project.facts_for(source, event_type).find_map(|model| {
            self.stopped.get(&model.name).map(|error| format!("the model {}: {}", model.name, error.chain()))
        })
    }
}

/// Creates and alters every table, view and trigger to match `project`.
pub async fn deploy(connection: &mut Connection, project: &Project, deadline: Instant) -> Result<Deployment> {
    let mut deployment = Deployment::default();
    for broken in &project.broken {
        let error = Error::new(Kind::Config, broken.problems.join("; ")).with_code(Code::ModelBroken);
        error!(file = broken.file, problems = broken.problems.join("; "), "a model's file is broken");
        match &broken.routes {
            Some(routes) => deployment.broken_routes.extend(routes.iter().cloned()),
            None => deployment.nothing_runs = Some(Error::new(Kind::Config, error.chain())),
        }
        deployment.stopped.insert(broken.name.clone(), error);
    }
    let mut catalog = read_catalog(connection, deadline).await?;
    for model in &project.models {
        if let Some(below) = stopped_below(model, &deployment.stopped) {
            let message = format!("it reads {below}, which is not deployed");
            deployment.stopped.insert(
                model.name.clone(),
                Error::new(Kind::Config, message).with_code(Code::ModelUpstreamStopped),
            );
            continue;
        }
        if catalog.is_deployed(&model.name, &definition_hash(model)) {
            continue;
        }
        let limit = derived::LOCK_TIMEOUT;
        let outcome = work::try_once(connection, "deploy a model", limit, deadline, async |transaction| {
            registry::lock(transaction).await?;
            match has_table(model) {
                true => deploy_table(transaction, model).await,
                false => derived::view::create_or_replace(transaction, project, model).await,
            }
        })
        .await?;
        match outcome {
            Ok(()) => {
                info!(model = model.name, "deployed");
                deployment.changed.push(model.name.clone());
            }
            // Somebody reads the table in a long transaction. Its events wait for the next run; the others' need not.
            Err(error) if error.code() == Code::LockTimeout => {
                let message =
                    format!("facts.{} must be altered and is in use: the next run tries again", model.name);
                let error =
                    Error::new(Kind::Transient, message).with_source(error).with_code(Code::ModelInUse);
                warn!(model = model.name, error = error.chain(), "a model is not deployed yet");
                deployment.stopped.insert(model.name.clone(), error);
            }
            Err(error) => {
                error!(
                    model = model.name,
                    file = model.file,
                    error = error.chain(),
                    "a model is not deployed"
                );
                deployment.stopped.insert(model.name.clone(), error);
            }
        }
    }
    if !deployment.changed.is_empty() {
        catalog = read_catalog(connection, deadline).await?;
    }
    deployment.catalog = catalog;
    derived::sync_triggers(connection, project, &mut deployment.stopped, deadline).await?;
    metrics::add(names::MODELS_STOPPED, deployment.stopped.len() as u64);
    Ok(deployment)
}

fn has_table(model: &Model) -> bool {
    matches!(model.kind, ModelKind::Fact | ModelKind::Rollup)
}

fn stopped_below<'m>(model: &'m Model, stopped: &BTreeMap<String, Error>) -> Option<&'m str> {
    model.reads.iter().find_map(|read| match read {
        Reference::Model(name) if stopped.contains_key(name) => Some(name.as_str()),
        _ => None,
    })
}

async fn read_catalog(connection: &mut Connection, deadline: Instant) -> Result<Catalog> {
    connection
        .run_tx("read the catalog of models", deadline, async |transaction| {
            work::begin(transaction).await?;
            Catalog::read(transaction).await
        })
        .await
}

async fn deploy_table(transaction: &Transaction<'_>, model: &Model) -> Result<()> {
    let hash = definition_hash(model);
    // Another worker may have deployed the model while this one waited for the lock.
    let deployed = DEPLOYED_HASH
        .query(transaction, &[(&model.name, Type::TEXT)])
        .await?
        .first()
        .map(|row| row.get::<_, String>(0));
    if deployed.as_ref() == Some(&hash) && table::exists(transaction, &model.name).await? {
        return Ok(());
    }
    table::create_or_alter(transaction, model, deployed.is_some()).await?;
    registry::record(transaction, model).await
}
