//! Determines the changes that a deployment would make: it tries them in a transaction and rolls the transaction back.

use std::time::Instant;

use millrace::database::Connection;
use millrace::database::failure::from_postgres;
use millrace::{Error, Result};
use tokio_postgres::Transaction;

use crate::backfill::{self, Unseen};
use crate::deploy::catalog::{Catalog, DeployedModel};
use crate::deploy::{shape, table};
use crate::model::{Model, ModelKind};
use crate::project::Project;
use crate::registry::definition_hash;
use crate::work;

/// The planned change of one model.
#[derive(Debug)]
pub struct PlanStep {
    pub model: String,
    pub kind: ModelKind,
    pub action: Action,
    /// The deployed query, if it differs.
    pub deployed_query: Option<String>,
    /// The processed batches that a fact has not seen.
    pub history: Unseen,
    /// The models that read it, directly or indirectly.
    pub downstream: Vec<String>,
}

#[derive(Debug)]
pub enum Action {
    Create,
    /// Changes without a rebuild, with their descriptions.
    Change(Vec<String>),
    /// The table must be rebuilt, for these reasons.
    Breaking(Vec<String>),
    Unchanged,
    Fails(Error),
}

/// The steps of `project`, in order; nothing is written.
pub async fn plan(
    connection: &mut Connection,
    project: &Project,
    deadline: Instant,
) -> Result<Vec<PlanStep>> {
    let mut actions = Vec::new();
    {
        let session = connection.session().await?;
        let mut transaction =
            session.transaction().await.map_err(|error| from_postgres("begin a plan", error))?;
        work::begin(&transaction).await?;
        let catalog = Catalog::read(&transaction).await?;
        for model in &project.models {
            actions.push(try_model(&mut transaction, &catalog, model).await?);
        }
        transaction.rollback().await.map_err(|error| from_postgres("roll back a plan", error))?;
    }
    let mut steps = Vec::new();
    for (model, (action, deployed)) in project.models.iter().zip(actions) {
        let history = match model.kind {
            ModelKind::Fact => Box::pin(backfill::unseen(connection, model, deadline)).await?,
            _ => Unseen::default(),
        };
        steps.push(PlanStep {
            model: model.name.clone(),
            kind: model.kind,
            action,
            deployed_query: deployed.filter(|old| old.query != model.query).map(|old| old.query),
            history,
            downstream: project.downstream(&model.name).iter().map(|above| above.name.clone()).collect(),
        });
    }
    Ok(steps)
}

async fn try_model(
    transaction: &mut Transaction<'_>,
    catalog: &Catalog,
    model: &Model,
) -> Result<(Action, Option<DeployedModel>)> {
    let deployed = catalog.deployed.get(&model.name).cloned();
    let savepoint =
        transaction.transaction().await.map_err(|error| from_postgres("set a savepoint", error))?;
    let tried = try_shape(&savepoint, catalog, model).await;
    let action = match tried {
        Ok(action) => {
            savepoint.commit().await.map_err(|error| from_postgres("release a savepoint", error))?;
            action
        }
        Err(error) => {
            // The error is caused by the database, not by the model.
            if error.kind().is_temporary() {
                return Err(error);
            }
            savepoint.rollback().await.map_err(|error| from_postgres("roll back to a savepoint", error))?;
            Action::Fails(error)
        }
    };
    Ok((action, deployed))
}

async fn try_shape(transaction: &Transaction<'_>, catalog: &Catalog, model: &Model) -> Result<Action> {
    if !catalog.columns.contains_key(&model.name) {
        match model.kind {
            ModelKind::Fact | ModelKind::Rollup => {
                table::create(transaction, model, &model.name).await?;
                table::finish(transaction, model, &model.name).await?;
            }
            // Create a table with its columns, which is sufficient to try the models that read it.
            ModelKind::View | ModelKind::MaterializedView => {
                shape::create(transaction, model, &model.name).await?;
            }
        }
        return Ok(Action::Create);
    }
    let Some(deployed) = catalog.deployed.get(&model.name) else {
        return Err(table::not_ours(model));
    };
    if deployed.definition_hash == definition_hash(model) {
        return Ok(Action::Unchanged);
    }
    let mut words = Vec::new();
    if matches!(model.kind, ModelKind::Fact | ModelKind::Rollup) {
        let difference = table::compare(transaction, model).await?;
        if difference.is_breaking() {
            return Ok(Action::Breaking(difference.describe(model)));
        }
        words.extend(
            difference.added.iter().map(|column| format!("add column {} {}", column.name, column.data_type)),
        );
        // Alter the table, so that the models that read it are tried with its new columns.
        table::create_or_alter(transaction, model, true).await?;
    }
    if deployed.fingerprint != model.fingerprint {
        words.push("another query".to_owned());
    }
    if words.is_empty() {
        words.push("tests, indexes or descriptions".to_owned());
    }
    Ok(Action::Change(words))
}

/// A description of the locks that the deployment of a step takes.
pub fn locks(step: &PlanStep) -> Option<String> {
    let name = &step.model;
    match &step.action {
        Action::Create => None,
        Action::Change(_) => Some(format!("ACCESS EXCLUSIVE on facts.{name}, for a moment")),
        Action::Breaking(_) => Some(format!(
            "with --full-refresh: ACCESS EXCLUSIVE on facts.{name} while the rebuilt table is swapped in"
        )),
        Action::Unchanged | Action::Fails(_) => None,
    }
}

/// Whether deploying would fail or lose something.
pub fn needs_attention(steps: &[PlanStep]) -> bool {
    steps.iter().any(|step| matches!(step.action, Action::Breaking(_) | Action::Fails(_)))
}

/// Whether `deploy` would do anything.
pub fn is_empty(steps: &[PlanStep]) -> bool {
    steps.iter().all(|step| matches!(step.action, Action::Unchanged) && step.history.batches == 0)
}
