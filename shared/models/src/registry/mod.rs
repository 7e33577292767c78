//! `pipeline.models`: the deployed models, and the lock of a deployment.

use millrace::Result;
use ring::digest::{SHA256, digest};
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use crate::model::Model;
use crate::sql::{Parameter, Statement};

const LOCK: Statement = Statement::new("wait for another deployment of models", include_str!("lock.sql"));
const RECORD: Statement = Statement::new("record a model in pipeline.models", include_str!("record.sql"));

/// Takes the lock that every deployment holds until the end of its transaction, because two deployments that create the same table
/// would conflict in PostgreSQL's catalog.
pub async fn lock(transaction: &Transaction<'_>) -> Result<()> {
    LOCK.query(transaction, &[]).await?;
    Ok(())
}

/// A hash of everything in a model that is deployed.
pub fn definition_hash(model: &Model) -> String {
    let Model { fingerprint, description, columns, key, indexes, tests, bucket, .. } = model;
    let text = format!("{fingerprint} {description:?} {columns:?} {key:?} {indexes:?} {tests:?} {bucket:?}");
    hex::encode(&digest(&SHA256, text.as_bytes()).as_ref()[..16])
}

/// Records `model` as deployed.
pub async fn record(transaction: &Transaction<'_>, model: &Model) -> Result<()> {
    let parameters: [Parameter<'_>; 5] = [
        (&model.name, Type::TEXT),
        (&model.kind.name(), Type::TEXT),
        (&model.fingerprint, Type::TEXT),
        (&definition_hash(model), Type::TEXT),
        (&model.query, Type::TEXT),
    ];
    RECORD.execute(transaction, &parameters).await?;
    Ok(())
}
