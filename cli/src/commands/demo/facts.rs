//! What the sample models made of the sample data.

use std::time::{Duration, Instant};

use millrace::database::failure::from_postgres;
use millrace::{Error, Kind, Result};
use millrace_models::sql::relation;
use serde_json::{Map, Value};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::environment::Environment;
use crate::stack::ministack;
use crate::terminal::table::TableColumn;
use crate::terminal::{TableExtent, Terminal, figure, seconds};

const FACT_MODELS: &str = include_str!("../../queries/fact_models.sql");
const UNPROCESSED: &str = include_str!("../../queries/unprocessed.sql");
const SAMPLE_ROLLUP: &str = include_str!("../../queries/sample_rollup.sql");
const SAMPLE_FACTS: &str = include_str!("../../queries/sample_facts.sql");

/// Runs the transform as its schedule would, and prints facts; true when nothing was left.
pub async fn show(environment: &Environment, database: &Client, terminal: &mut Terminal) -> Result<bool> {
    let port = environment
        .local_aws
        .as_ref()
        .and_then(|aws| aws.endpoint.rsplit_once(':')?.1.parse().ok())
        .ok_or_else(|| Error::new(Kind::Bug, "the stack has no local AWS"))?;
    let began = Instant::now();
    let answer = invoke_until(port, "transform", async |_| {
        // The schedule may have invoked it too, and that one have taken some of the batches.
        Ok(rows(database, UNPROCESSED).await?.is_empty())
    })
    .await?;
    let count = |name: &str| figure(answer[name].as_i64().unwrap_or_default());
    terminal.good(&format!(
        "  transformed {} events in {} claims, {} quarantined, {} unmodelled, in {}",
        count("events"),
        count("claims"),
        count("quarantined"),
        count("unmodelled"),
        seconds(began.elapsed())
    ));
    let began = Instant::now();
    let refreshed = invoke_until(port, "refresh", async |answer| {
        Ok(answer["skipped"].as_object().is_none_or(Map::is_empty))
    })
    .await?;
    let names: Vec<&str> =
        refreshed["refreshed"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    terminal.good(&format!("  refreshed   {} in {}", names.join(", "), seconds(began.elapsed())));
    terminal.line("");
    let columns = [
        TableColumn::word("model"),
        TableColumn::number("rows"),
        TableColumn::text("description", 24),
        TableColumn::word("kind").optional(),
    ];
    let mut models = Vec::new();
    for row in rows(database, FACT_MODELS).await? {
        let [model, kind, description] = row.as_slice() else { continue };
        // Counted, not estimated: the sample is small.
        let count = rows(database, &format!("select count(*) from {}", relation(model))).await?;
        let count = count.first().and_then(|row| row.first()).cloned().unwrap_or_default();
        let count = count.parse().map_or(count, |count: i64| figure(count));
        models.push(vec![model.clone(), count, description.clone(), kind.clone()]);
    }
    terminal.table(&columns, &models, TableExtent::Terminal);
    terminal.line("");
    terminal.line("  facts.airport_weather, a materialized view with a join:");
    let columns = [
        TableColumn::word("airport"),
        TableColumn::number("hours"),
        TableColumn::number("coldest °C"),
        TableColumn::number("warmest °C"),
        TableColumn::word("newest"),
    ];
    terminal.table(&columns, &rows(database, SAMPLE_FACTS).await?, TableExtent::Terminal);
    terminal.line("");
    terminal.line("  facts.weather_daily, a rollup:");
    let columns = [
        TableColumn::word("day"),
        TableColumn::word("airport"),
        TableColumn::number("hours"),
        TableColumn::number("mean °C"),
        TableColumn::number("precipitation in"),
    ];
    terminal.table(&columns, &rows(database, SAMPLE_ROLLUP).await?, TableExtent::Terminal);
    Ok(answer["waiting"].as_array().is_some_and(Vec::is_empty))
}

/// Invokes a function, again until it is done or half a minute is over.
async fn invoke_until(
    port: u16,
    function: &str,
    done: impl AsyncFn(&Value) -> Result<bool>,
) -> Result<Value> {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = ministack::invoke(port, function).await?;
        if done(&answer).await? || Instant::now() >= until {
            return Ok(answer);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// The cells of a query, as text.
async fn rows(database: &Client, sql: &str) -> Result<Vec<Vec<String>>> {
    let messages =
        database.simple_query(sql).await.map_err(|error| from_postgres("read the facts", error))?;
    Ok(messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|at| row.get(at).unwrap_or("-").to_owned()).collect())
            }
            _ => None,
        })
        .collect())
}
