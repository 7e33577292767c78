//! Relations derived from facts: rollups, materialized views and views.
//!
//! - [`catalog`]: reads the derived relations of the database and their base relations.
//! - [`invalidate`]: triggers that record what a change of a base relation invalidates.
//! - [`rollup`]: recomputes invalidated buckets.
//! - [`view`]: creates views and materialized views, and replaces them to match their models.

pub mod catalog;
pub mod invalidate;
pub mod rollup;
pub mod view;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use millrace::database::Connection;
use millrace::{Code, Error, Kind, Result};
use tracing::{error, info, warn};

use crate::project::Project;
use crate::{registry, work};

/// `create trigger` and `create view` wait for the transactions that use the table, and block all later ones meanwhile.
pub(crate) const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// Creates and drops the triggers of derived relations until they match `project` and the database. A model whose triggers
/// cannot be created is added to `stopped`, with the models that read it, until the next deployment.
pub async fn watch(
    connection: &mut Connection,
    project: &Project,
    stopped: &mut BTreeMap<String, Error>,
    deadline: Instant,
) -> Result<()> {
    // First without the lock: nearly always there is nothing to do.
    let due = connection
        .run_tx("look at what is derived", deadline, async |transaction| {
            work::begin(transaction).await?;
            invalidate::due(transaction, project).await
        })
        .await?;
    // A stopped model keeps the triggers that its table has.
    let names: Vec<String> = due.names.into_iter().filter(|name| !stopped.contains_key(name)).collect();
    for name in names {
        let outcome =
            work::try_once(connection, "watch what is below", LOCK_TIMEOUT, deadline, async |transaction| {
                registry::lock(transaction).await?;
                invalidate::watch(transaction, project, &name).await
            })
            .await?;
        match outcome {
            Ok(()) => {
                info!(model = name, "what it is computed from is watched");
            }
            Err(error) => stop(project, stopped, &name, error),
        }
    }
    if due.has_unwanted {
        let outcome =
            work::try_once(connection, "stop watching", LOCK_TIMEOUT, deadline, async |transaction| {
                registry::lock(transaction).await?;
                invalidate::drop_unwanted(transaction, project).await
            })
            .await?;
        if let Err(error) = outcome {
            // These triggers cost time and nothing else. The next deployment tries again.
            warn!(error = error.chain(), "triggers of derived relations that are gone are still there");
        }
    }
    Ok(())
}

fn stop(project: &Project, stopped: &mut BTreeMap<String, Error>, name: &str, error: Error) {
    error!(model = name, error = error.chain(), "a model is not deployed");
    stopped.insert(name.to_owned(), error);
    for above in project.downstream(name) {
        stopped.entry(above.name.clone()).or_insert_with(|| {
            let message = format!("it stands on {name}, which does not run");
            Error::new(Kind::Config, message).with_code(Code::ModelUpstreamStopped)
        });
    }
}
