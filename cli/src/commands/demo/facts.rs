//! What the sample models made of the sample data.

use std::time::Instant;

use millrace::database::failure::from_postgres;
use millrace::{Error, Kind, Result};
use millrace_models::sql::relation;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::environment::Environment;
use crate::stack::ministack;
use crate::terminal::{Align, Terminal, figure, one_line, seconds};

const FACT_MODELS: &str = include_str!("../../queries/fact_models.sql");
const SAMPLE_FACTS: &str = include_str!("../../queries/sample_facts.sql");

/// Runs the transform as its schedule would, and prints facts; true when nothing was left.
pub async fn show(environment: &Environment, database: &Client, terminal: &mut Terminal) -> Result<bool> {
    let port = environment
        .local_aws
        .as_ref()
        .and_then(|aws| aws.endpoint.rsplit_once(':')?.1.parse().ok())
        .ok_or_else(|| Error::new(Kind::Bug, "the stack has no local AWS"))?;
    let began = Instant::now();
    let answer = ministack::invoke(port, "transform").await?;
    let count = |name: &str| figure(answer[name].as_i64().unwrap_or_default());
    terminal.good(&format!(
        "  transformed {} events in {} claims, {} quarantined, {} without a model, in {}",
        count("events"),
        count("claims"),
        count("quarantined"),
        count("unmodelled"),
        seconds(began.elapsed())
    ));
    terminal.line("");
    let columns = [("model", Align::Left), ("facts", Align::Right), ("what it is", Align::Left)];
    let mut models = Vec::new();
    for row in rows(database, FACT_MODELS).await? {
        let [model, description] = row.as_slice() else { continue };
        // Counted, not estimated: the sample is small.
        let count = rows(database, &format!("select count(*) from {}", relation(model))).await?;
        let count = count.first().and_then(|row| row.first()).cloned().unwrap_or_default();
        models.push(vec![model.clone(), count, description.clone()]);
    }
    terminal.table(&columns, &models);
    terminal.line("");
    terminal.line("  select * from facts.weather join facts.airports on faa = origin:");
    let columns = [
        ("airport", Align::Left),
        ("hours", Align::Right),
        ("coldest °C", Align::Right),
        ("warmest °C", Align::Right),
        ("wettest hour", Align::Left),
    ];
    terminal.table(&columns, &rows(database, SAMPLE_FACTS).await?);
    Ok(answer["waiting"].as_array().is_some_and(Vec::is_empty))
}

/// The cells of a query, as text.
async fn rows(database: &Client, sql: &str) -> Result<Vec<Vec<String>>> {
    let messages =
        database.simple_query(sql).await.map_err(|error| from_postgres("read the facts", error))?;
    Ok(messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|at| one_line(row.get(at).unwrap_or("-"), 80)).collect())
            }
            _ => None,
        })
        .collect())
}
