//! Reads the deployed models and the columns of the relations in `facts`.

use std::collections::{BTreeMap, HashMap};

use millrace::Result;
use tokio_postgres::Transaction;

use crate::columns::{RelationColumn, is_ours};
use crate::sql::Statement;

const DEPLOYED: Statement = Statement::new("read which models are deployed", include_str!("deployed.sql"));
const COLUMNS: Statement = Statement::new("read which models are deployed", include_str!("columns.sql"));

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployedModel {
    pub kind: String,
    pub fingerprint: String,
    pub definition_hash: String,
    pub query: String,
}

#[derive(Debug, Default, Clone)]
pub struct Catalog {
    /// By model.
    pub deployed: BTreeMap<String, DeployedModel>,
    /// The columns of every relation in `facts`, in their order, including those that Millrace adds.
    pub columns: HashMap<String, Vec<RelationColumn>>,
}

impl Catalog {
    pub async fn read(transaction: &Transaction<'_>) -> Result<Catalog> {
        let mut catalog = Catalog::default();
        for row in DEPLOYED.query(transaction, &[]).await? {
            let deployed = DeployedModel {
                kind: row.get("kind"),
                fingerprint: row.get("fingerprint"),
                definition_hash: row.get("definition_hash"),
                query: row.get("query"),
            };
            catalog.deployed.insert(row.get("model"), deployed);
        }
        for row in COLUMNS.query(transaction, &[]).await? {
            let column = RelationColumn { name: row.get("name"), data_type: row.get("data_type") };
            catalog.columns.entry(row.get("relation")).or_default().push(column);
        }
        Ok(catalog)
    }

    /// Whether the deployed model matches its file.
    pub fn is_deployed(&self, model: &str, definition_hash: &str) -> bool {
        self.columns.contains_key(model)
            && self.deployed.get(model).is_some_and(|deployed| deployed.definition_hash == definition_hash)
    }

    /// The names of a relation's columns that its query produces, without those that Millrace adds.
    pub fn query_columns(&self, relation: &str) -> Vec<String> {
        let columns = self.columns.get(relation).map(Vec::as_slice).unwrap_or_default();
        columns.iter().map(|column| column.name.clone()).filter(|name| !is_ours(name)).collect()
    }
}
