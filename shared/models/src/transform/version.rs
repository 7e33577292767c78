//! The version of the set of fact models.

use std::collections::BTreeMap;
use std::time::Instant;

use millrace::Result;
use millrace::database::Connection;
use millrace::database::failure::from_postgres;
use ring::digest::{SHA256, digest};
use tokio_postgres::types::Type;

use crate::model::Kind;
use crate::project::Project;

const ENSURE_VERSION: &str = include_str!("ensure_version.sql");

/// Returns the id of the model version with the facts of `project`, and records it if it is new.
pub async fn ensure(connection: &mut Connection, project: &Project, deadline: Instant) -> Result<i64> {
    let facts: BTreeMap<&str, &str> = project
        .models
        .iter()
        .filter(|model| model.kind == Kind::Fact)
        .map(|model| (model.name.as_str(), model.fingerprint.as_str()))
        .collect();
    let fingerprint = hex::encode(&digest(&SHA256, format!("{facts:?}").as_bytes()).as_ref()[..16]);
    let models = serde_json::json!(facts);
    connection
        .run_statement("record the model version", deadline, async |session| {
            let failed = |error| from_postgres("record the model version in pipeline.model_versions", error);
            let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
                [(&fingerprint, Type::TEXT), (&models, Type::JSONB)];
            let rows = session.query_typed(ENSURE_VERSION, &parameters).await.map_err(failed)?;
            match rows.first() {
                Some(row) => Ok(row.get(0)),
                // Another worker inserted it after this statement began.
                None => Ok(session
                    .query_typed(ENSURE_VERSION, &parameters)
                    .await
                    .map_err(failed)?
                    .first()
                    .map_or(0, |row| row.get(0))),
            }
        })
        .await
}
