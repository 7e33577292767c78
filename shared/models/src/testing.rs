//! Runs the tests of models over all rows.

use std::time::Instant;

use millrace::Result;
use millrace::database::Connection;

use crate::model::{Check, Model, Severity, Test};
use crate::sql::{Statement, identifier, identifiers, literal, relation};
use crate::work;

/// The result of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestResult {
    pub test: String,
    pub severity: Severity,
    /// Rows, keys or values that fail; 0 is a pass.
    pub failing: i64,
    /// A description of the failure.
    pub words: String,
}

/// Runs every test of a model.
pub async fn run(connection: &mut Connection, model: &Model, deadline: Instant) -> Result<Vec<TestResult>> {
    let mut findings = Vec::new();
    for test in &model.tests {
        let sql = statement(model, test);
        let doing = format!("{}: the test `{}`", model.file, test.text);
        let failing = connection
            .run_tx("test a model", deadline, async |transaction| {
                work::begin(transaction).await?;
                let rows = Statement::new(&doing, &sql).query(transaction, &[]).await?;
                Ok(rows.first().map_or(0, |row| row.get(0)))
            })
            .await?;
        findings.push(TestResult {
            test: test.text.clone(),
            severity: test.severity,
            failing,
            words: words(test, failing),
        });
    }
    Ok(findings)
}

fn words(test: &Test, failing: i64) -> String {
    let is_one = failing == 1;
    match &test.check {
        Check::Row { .. } if is_one => "1 row fails".to_owned(),
        Check::Row { .. } => format!("{failing} rows fail"),
        Check::Unique { .. } if is_one => "1 key is there more than once".to_owned(),
        Check::Unique { .. } => format!("{failing} keys are there more than once"),
        Check::Relationship { model, .. } if is_one => format!("1 row has none in {model}"),
        Check::Relationship { model, .. } => format!("{failing} rows have none in {model}"),
        Check::Freshness { .. } => "the newest is older, or there is none".to_owned(),
    }
}

/// The query that counts what fails.
fn statement(model: &Model, test: &Test) -> String {
    let table = relation(&model.name);
    match &test.check {
        Check::Row { condition } => format!("select count(*) from {table} where ({condition}) is false"),
        Check::Unique { columns } => {
            let columns = identifiers(columns.iter().map(String::as_str));
            format!(
                "select count(*) from (select from {table} group by {columns} having count(*) > 1) as twice"
            )
        }
        Check::Relationship { column, model, model_column } => format!(
            "select count(*) from {table} as child where child.{column} is not null and not exists (
                select from {parent} as parent where parent.{model_column} = child.{column}
            )",
            column = identifier(column),
            parent = relation(model),
            model_column = identifier(model_column),
        ),
        // An empty table is not fresh either.
        Check::Freshness { column, interval } => format!(
            "select (coalesce(max({column}) < now() - {interval}::interval, true))::int::bigint from {table}",
            column = identifier(column),
            interval = literal(interval),
        ),
    }
}
