//! The version of the set of fact models.

use std::collections::BTreeMap;
use std::time::Instant;

use millrace::Result;
use millrace::database::Connection;
use ring::digest::{SHA256, digest};
use tokio_postgres::types::Type;

use crate::model::ModelKind;
use crate::project::Project;
use crate::sql::{Parameter, Statement};

const ENSURE_VERSION: Statement =
    Statement::new("record the model version in pipeline.model_versions", include_str!("ensure_version.sql"));

/// Returns the id of the model version with the facts of `project`, and records it if it is new.
pub async fn ensure(connection: &mut Connection, project: &Project, deadline: Instant) -> Result<i64> {
    let facts: BTreeMap<&str, &str> = project
        .models
        .iter()
        .filter(|model| model.kind == ModelKind::Fact)
        .map(|model| (model.name.as_str(), model.fingerprint.as_str()))
        .collect();
    let fingerprint = hex::encode(&digest(&SHA256, format!("{facts:?}").as_bytes()).as_ref()[..16]);
    let models = serde_json::json!(facts);
    let parameters: [Parameter<'_>; 2] = [(&fingerprint, Type::TEXT), (&models, Type::JSONB)];
    let mut rows = ENSURE_VERSION.query_alone(connection, deadline, &parameters).await?;
    if rows.is_empty() {
        // Another worker inserted it after this statement began.
        rows = ENSURE_VERSION.query_alone(connection, deadline, &parameters).await?;
    }
    Ok(rows.first().map_or(0, |row| row.get(0)))
}
