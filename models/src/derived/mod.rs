//! What is derived from facts: rollups, materialized views and views.
//!
//! - [`catalog`]: what the database holds of derived relations, and what each is computed from.
//! - [`invalidate`]: triggers by which a change below a derived relation says what has to be computed again.
//! - [`rollup`]: invalidated buckets computed again.
//! - [`view`]: views and materialized views made, and brought up to their models.

pub mod catalog;
pub mod invalidate;
pub mod rollup;
pub mod view;

use std::time::{Duration, Instant};

use millrace::database::Connection;
use millrace::{Error, Kind, Result};
use tracing::{error, info, warn};

use crate::deploy::{self, Deployment};
use crate::project::Project;
use crate::work;

/// Making a trigger or another view waits for whoever uses its table, and everybody else waits behind it meanwhile.
pub(crate) const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// Makes the triggers of everything derived what `project` and the database want. What cannot be watched now is stopped,
/// with what is above it, until the next deployment.
pub async fn watch(
    connection: &mut Connection,
    project: &Project,
    deployment: &mut Deployment,
    deadline: Instant,
) -> Result<()> {
    // Looked at without a lock first: nearly always there is nothing to do.
    let due = connection
        .run_tx("look at what is derived", deadline, async |transaction| {
            work::begin(transaction).await?;
            invalidate::due(transaction, project).await
        })
        .await?;
    // The triggers of a model that does not run stay those of its table.
    let names: Vec<String> =
        due.names.into_iter().filter(|name| !deployment.stopped.contains_key(name)).collect();
    for name in names {
        let outcome =
            work::try_once(connection, "watch what is below", LOCK_TIMEOUT, deadline, async |transaction| {
                deploy::lock(transaction).await?;
                invalidate::watch(transaction, project, &name).await
            })
            .await?;
        match outcome {
            Ok(()) => {
                info!(model = name, "what it is computed from is watched");
            }
            Err(error) => stop(project, deployment, &name, error),
        }
    }
    if due.has_unwanted {
        let outcome =
            work::try_once(connection, "stop watching", LOCK_TIMEOUT, deadline, async |transaction| {
                deploy::lock(transaction).await?;
                invalidate::drop_unwanted(transaction, project).await
            })
            .await?;
        if let Err(error) = outcome {
            // They do no harm but for the time they take; the next deployment tries again.
            warn!(error = error.chain(), "triggers of derived relations that are gone are still there");
        }
    }
    Ok(())
}

fn stop(project: &Project, deployment: &mut Deployment, name: &str, error: Error) {
    error!(model = name, error = error.chain(), "a model is not deployed");
    deployment.stopped.insert(name.to_owned(), error);
    for above in project.downstream(name) {
        deployment.stopped.entry(above.name.clone()).or_insert_with(|| {
            let message = format!("it stands on {name}, which does not run");
            Error::new(Kind::Config, message).with_code("model_upstream_stopped")
        });
    }
}
