//! Creates the table of a fact model or rollup from its query, or alters it without changing existing rows.

use std::collections::BTreeMap;

use millrace::{Code, Error, Kind, Result};
use ring::digest::{SHA256, digest};
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use super::shape;
use crate::columns::{EVENT_ID, RECEIVED_AT, RelationColumn, columns, is_ours};
use crate::model::{Check, Model, ModelKind, Severity};
use crate::sql::{self, Statement, identifier, identifiers, literal, relation};

const TABLE_EXISTS: Statement = Statement::new("look for a table in facts", include_str!("table_exists.sql"));
const PRIMARY_KEY: Statement = Statement::new("read a table's key", include_str!("primary_key.sql"));
const INDEXES: Statement = Statement::new("read a table's indexes", include_str!("indexes.sql"));
const TEST_CONSTRAINTS: Statement =
    Statement::new("read a table's constraints", include_str!("test_constraints.sql"));

/// The differences between a table and its model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    pub added: Vec<RelationColumn>,
    /// The column in the table and in the query.
    pub retyped: Vec<(RelationColumn, RelationColumn)>,
    pub dropped: Vec<RelationColumn>,
    /// The key of the table, if the model has another key.
    pub other_key: Option<Vec<String>>,
}

impl Difference {
    /// Whether the table must be rebuilt.
    pub fn is_breaking(&self) -> bool {
        !self.retyped.is_empty() || !self.dropped.is_empty() || self.other_key.is_some()
    }

    /// A description of every breaking difference.
    pub fn describe(&self, model: &Model) -> Vec<String> {
        let mut words = Vec::new();
        for (is, wanted) in &self.retyped {
            words.push(format!("{} is {} and would become {}", is.name, is.data_type, wanted.data_type));
        }
        for column in &self.dropped {
            words.push(format!("{} is no longer selected", column.name));
        }
        if let Some(key) = &self.other_key {
            let show = |key: &[String]| if key.is_empty() { "none".to_owned() } else { key.join(", ") };
            words.push(format!("the key is {} and would become {}", show(key), show(&model.key)));
        }
        words
    }
}

/// Creates the table of `model`, or alters it to match. `ours` is true if an earlier deployment created it.
pub async fn create_or_alter(transaction: &Transaction<'_>, model: &Model, ours: bool) -> Result<()> {
    if !exists(transaction, &model.name).await? {
        create(transaction, model, &model.name).await?;
        return finish(transaction, model, &model.name).await;
    }
    if !ours {
        return Err(not_ours(model));
    }
    let difference = compare(transaction, model).await?;
    if difference.is_breaking() {
        let message = format!(
            "facts.{name} cannot be altered to match {file}: {what}. Rebuild it with \
             `millrace models run {name} --full-refresh`, or give the column another name",
            name = model.name,
            file = model.file,
            what = difference.describe(model).join("; "),
        );
        return Err(Error::new(Kind::Config, message).with_code(Code::ModelChanged));
    }
    for column in &difference.added {
        run(
            transaction,
            &format!(
                "alter table {} add column {} {}",
                relation(&model.name),
                identifier(&column.name),
                column.data_type
            ),
        )
        .await?;
    }
    finish(transaction, model, &model.name).await
}

/// The error for a relation with the name of `model` that no model created.
pub fn not_ours(model: &Model) -> Error {
    let message = format!(
        "facts.{} exists and was not created by a model: rename it, or rename the file {}",
        model.name, model.file
    );
    Error::new(Kind::Config, message).with_code(Code::ModelNameTaken)
}

/// How the table of `model` differs from its query. Creates and drops a table, so it requires a transaction.
pub async fn compare(transaction: &Transaction<'_>, model: &Model) -> Result<Difference> {
    let name = format!("{}__shape", model.name);
    run(transaction, &format!("drop table if exists {}", relation(&name))).await?;
    let wanted = shape::create(transaction, model, &name).await?;
    run(transaction, &format!("drop table {}", relation(&name))).await?;
    let there = columns(transaction, &model.name).await?;
    let there: Vec<RelationColumn> = there.into_iter().filter(|column| !is_ours(&column.name)).collect();
    let of =
        |columns: &[RelationColumn], name: &str| columns.iter().find(|column| column.name == name).cloned();
    let mut difference = Difference::default();
    for column in &wanted {
        match of(&there, &column.name) {
            None => difference.added.push(column.clone()),
            Some(is) if is.data_type != column.data_type => difference.retyped.push((is, column.clone())),
            Some(_) => {}
        }
    }
    difference.dropped = there.into_iter().filter(|column| of(&wanted, &column.name).is_none()).collect();
    let key = primary_key(transaction, &model.name).await?;
    difference.other_key = Some(key).filter(|key| *key != model.key);
    Ok(difference)
}

/// Creates the empty table `name` with the query's columns, Millrace's columns and the key.
pub async fn create(transaction: &Transaction<'_>, model: &Model, name: &str) -> Result<()> {
    shape::create(transaction, model, name).await?;
    let table = relation(name);
    if model.kind == ModelKind::Fact {
        run(
            transaction,
            &format!(
                "alter table {table} add column {RECEIVED_AT} timestamptz not null, add column {EVENT_ID} bigint not null;
                 comment on column {table}.{RECEIVED_AT} is 'When the event that this row was made from was received.';
                 comment on column {table}.{EVENT_ID} is 'The event, in raw_events, that this row was made from.'"
            ),
        )
        .await?;
    }
    if !model.key.is_empty() {
        let key = identifiers(model.key.iter().map(String::as_str));
        run(transaction, &format!("alter table {table} add primary key ({key})")).await?;
    }
    Ok(())
}

/// Creates the indexes, constraints and comments of `model` on the table `name`.
pub async fn finish(transaction: &Transaction<'_>, model: &Model, name: &str) -> Result<()> {
    let table = relation(name);
    let there: Vec<Vec<String>> =
        INDEXES.query(transaction, &[(&name, Type::TEXT)]).await?.iter().map(|row| row.get(0)).collect();
    for columns in model.indexes.iter().filter(|columns| !there.contains(columns)) {
        let columns = identifiers(columns.iter().map(String::as_str));
        run(transaction, &format!("create index on {table} ({columns})")).await?;
    }
    constrain(transaction, model, name).await?;
    let comment = model.description.as_deref().map_or_else(|| "null".to_owned(), literal);
    run(transaction, &format!("comment on table {table} is {comment}")).await?;
    for (column, text) in &model.columns {
        let statement = format!("comment on column {table}.{} is {}", identifier(column), literal(text));
        run(transaction, &statement).await?;
    }
    Ok(())
}

/// The tests that are check constraints of the table, by the name of the constraint: conditions with severity `error`.
pub fn enforced(model: &Model) -> BTreeMap<String, &str> {
    model
        .tests
        .iter()
        .filter(|test| test.severity == Severity::Error && model.kind == ModelKind::Fact)
        .filter_map(|test| match &test.check {
            Check::Row { condition } => Some((constraint_name(condition), condition.as_str())),
            _ => None,
        })
        .collect()
}

fn constraint_name(condition: &str) -> String {
    format!("test_{}", hex::encode(&digest(&SHA256, condition.as_bytes()).as_ref()[..6]))
}

/// Existing rows are not checked here. `millrace models test` checks them.
async fn constrain(transaction: &Transaction<'_>, model: &Model, name: &str) -> Result<()> {
    let table = relation(name);
    let there: Vec<String> = TEST_CONSTRAINTS
        .query(transaction, &[(&name, Type::TEXT)])
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    let wanted = enforced(model);
    for constraint in there.iter().filter(|constraint| !wanted.contains_key(*constraint)) {
        run(transaction, &format!("alter table {table} drop constraint {}", identifier(constraint))).await?;
    }
    for (constraint, condition) in wanted.iter().filter(|(constraint, _)| !there.contains(constraint)) {
        let statement = format!(
            "alter table {table} add constraint {} check ({condition}) not valid",
            identifier(constraint)
        );
        sql::batch_execute(transaction, &format!("{}: the test `{condition}`", model.file), &statement)
            .await?;
    }
    Ok(())
}

pub async fn exists(transaction: &Transaction<'_>, name: &str) -> Result<bool> {
    let rows = TABLE_EXISTS.query(transaction, &[(&name, Type::TEXT)]).await?;
    Ok(!rows.is_empty())
}

async fn primary_key(transaction: &Transaction<'_>, name: &str) -> Result<Vec<String>> {
    let rows = PRIMARY_KEY.query(transaction, &[(&name, Type::TEXT)]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn run(transaction: &Transaction<'_>, statement: &str) -> Result<()> {
    let doing = || statement.split_whitespace().take(6).collect::<Vec<_>>().join(" ");
    sql::batch_execute(transaction, &doing(), statement).await
}
