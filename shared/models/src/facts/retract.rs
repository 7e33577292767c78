//! Deletes the facts of batches, and recomputes the facts that had lost to them.
//!
//! Another event with the same key may have lost to a deleted fact, so the model runs again over the source's other events, for the
//! deleted keys only. This reads all events of the source, and only happens when a file is replaced.

use millrace::Result;
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use super::ranges::{EventRange, RangeParameters};
use super::run::FactTable;
use super::statement::CLAIMED;
use crate::columns::{EVENT_ID, RECEIVED_AT};
use crate::model::EventRoute;
use crate::sql::{self, Statement, identifier, identifiers, relation};

const CURRENT: Statement =
    Statement::new("list the batches of a source", include_str!("current_batches.sql"));

/// The number of batches per statement.
const CHUNK: usize = 16;
/// The deleted keys, with the types of the fact. Qualified, because a model may have the same name.
const DELETED: &str = "pg_temp.deleted_keys";

impl FactTable<'_> {
    /// Deletes the facts of `batches`, and recomputes the facts of the deleted keys. Returns the number of deleted rows.
    pub async fn retract(&self, transaction: &Transaction<'_>, batches: &[EventRange]) -> Result<u64> {
        let doing = format!("retract facts of {}", self.model.name);
        let table = relation(&self.name);
        let has_key = !self.model.key.is_empty();
        let key = if has_key { self.key_of("fact") } else { "true as deleted".to_owned() };
        // The temporary table has the types of the key.
        let create = format!(
            "create temporary table deleted_keys on commit drop as select {key} from {table} as fact with no data"
        );
        sql::batch_execute(transaction, &doing, &create).await?;
        let delete = format!(
            "with deleted as (
    delete from {table} as fact using {CLAIMED}
    where fact.{RECEIVED_AT} = e.received_at and fact.{EVENT_ID} = e.id
    returning {key}
)
insert into {DELETED} select * from deleted"
        );
        let parameters = RangeParameters::new(batches);
        let deleted_count = Statement::new(&doing, &delete).execute(transaction, &parameters.typed()).await?;
        if has_key && deleted_count > 0 {
            self.recompute(transaction).await?;
        }
        sql::batch_execute(transaction, &doing, &format!("drop table {DELETED}")).await?;
        Ok(deleted_count)
    }

    /// The columns of the key, of the relation with this alias.
    fn key_of(&self, alias: &str) -> String {
        let columns = self.model.key.iter().map(|name| format!("{alias}.{}", identifier(name)));
        columns.collect::<Vec<_>>().join(", ")
    }

    async fn recompute(&self, transaction: &Transaction<'_>) -> Result<()> {
        let key = identifiers(self.model.key.iter().map(String::as_str));
        let only = format!("({}) in (select {key} from {DELETED})", self.key_of("q"));
        for EventRoute { source, event_type } in &self.model.routes {
            let rows = CURRENT.query(transaction, &[(source, Type::TEXT), (event_type, Type::TEXT)]).await?;
            for chunk in EventRange::read(&rows).chunks(CHUNK) {
                // An event that is refused here was refused when it was transformed, and has a dead letter.
                self.insert(transaction, chunk, Some(&only), u64::MAX).await?;
            }
        }
        Ok(())
    }
}
