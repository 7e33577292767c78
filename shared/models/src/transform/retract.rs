//! Deletes the facts of files that were replaced. A newer version of a file supersedes the batches of the older version. If these
//! were already transformed, their facts are deleted.

use std::time::Instant;

use millrace::Result;
use millrace::database::Connection;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::claim::Claim;
use crate::facts::ranges::EventRange;
use crate::facts::run::{self, FactTable};
use crate::model::Model;
use crate::quarantine;
use crate::runs::{RunActivity, RunCounts, RunRecord};
use crate::sql::Statement;

const LOCK: Statement = Statement::new("list the batches of a source", include_str!("lock_superseded.sql"));
const MARK: Statement = Statement::new("mark batches as retracted", include_str!("mark_retracted.sql"));

/// Deletes the facts of the superseded batches of a source and event type. Returns the number of batches.
pub async fn retract(
    connection: &mut Connection,
    claim: &Claim<'_>,
    source: &str,
    event_type: &str,
    deadline: Instant,
) -> Result<u64> {
    let run = RunRecord { activity: RunActivity::Retract, ..claim.run };
    connection
        .run_tx("retract", deadline, async |transaction| {
            let models: Vec<&Model> = claim.project.facts_for(source, event_type).collect();
            run::begin(transaction, &models).await?;
            let rows = LOCK.query(transaction, &[(&source, Type::TEXT), (&event_type, Type::TEXT)]).await?;
            let batches = EventRange::read(&rows);
            if batches.is_empty() {
                return Ok(0);
            }
            for model in models {
                let started = Instant::now();
                let table = FactTable::deployed(model, &claim.deployment.catalog);
                let row_count = table.retract(transaction, &batches).await?;
                let counts = RunCounts { row_count, duration: started.elapsed(), ..RunCounts::default() };
                run.count(transaction, &model.name, counts).await?;
            }
            let ids: Vec<Uuid> = batches.iter().map(|range| range.batch_id).collect();
            MARK.execute(transaction, &[(&ids, Type::UUID_ARRAY)]).await?;
            quarantine::delete_batches(transaction, &ids).await?;
            Ok(batches.len() as u64)
        })
        .await
}
