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
pub async fn sync_triggers(
    connection: &mut Connection,
    project: &Project,
    stopped: &mut BTreeMap<String, Error>,
    deadline: Instant,
) -> Result<()> {
    // Check first without the lock, because there are rarely changes.
    let changes = connection
        .run_tx("read the derived relations", deadline, async |transaction| {
            work::begin(transaction).await?;
            invalidate::changes(transaction, project).await
        })
        .await?;
    // A stopped model keeps its existing triggers.
    let names: Vec<String> = changes.names.into_iter().filter(|name| !stopped.contains_key(name)).collect();
    for name in names {
        let outcome = work::try_once(
            connection,
            "create the triggers of a derived relation",
            LOCK_TIMEOUT,
            deadline,
            async |transaction| {
                registry::lock(transaction).await?;
                invalidate::create_triggers(transaction, project, &name).await
            },
        )
        .await?;
        match outcome {
            Ok(()) => {
                info!(model = name, "invalidation triggers created");
            }
            Err(error) => stop(project, stopped, &name, error),
        }
    }
    if changes.has_unwanted {
        let outcome = work::try_once(
            connection,
            "drop the triggers of missing derived relations",
            LOCK_TIMEOUT,
            deadline,
            async |transaction| {
                registry::lock(transaction).await?;
                invalidate::drop_unwanted(transaction, project).await
            },
        )
        .await?;
        if let Err(error) = outcome {
            // These triggers only cost time. The next deployment retries.
            warn!(error = error.chain(), "the triggers of missing derived relations were not dropped");
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
