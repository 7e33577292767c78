//! `millrace models list`

use millrace::Result;
use millrace::database::Connection;
use millrace::database::failure::from_postgres;
use millrace_models::project::Project;
use millrace_models::registry::definition_hash;
use tokio_postgres::types::Type;

use super::connect::deadline;
use crate::commands::CommandOutcome;
use crate::terminal::table::TableColumn;
use crate::terminal::{TableExtent, Terminal, age, figure};

const DEPLOYED_MODELS: &str = include_str!("../../queries/deployed_models.sql");

const COLUMNS: [TableColumn; 8] = [
    TableColumn::text("model", 16),
    TableColumn::word("state"),
    TableColumn::word("outcome"),
    TableColumn::number("ago"),
    TableColumn::number("rows"),
    TableColumn::text("reason", 20),
    TableColumn::word("kind").optional(),
    TableColumn::word("takes").optional(),
];

pub async fn run(
    project: &Project,
    connection: &mut Connection,
    extent: TableExtent,
    terminal: &mut Terminal,
) -> Result<CommandOutcome> {
    let mut rows = Vec::new();
    for model in &project.models {
        let found = connection
            .run_statement("list models", deadline(), async |session| {
                session
                    .query_typed(DEPLOYED_MODELS, &[(&model.name, Type::TEXT)])
                    .await
                    .map_err(|error| from_postgres("read pipeline.models", error))
            })
            .await?;
        let found = found.first();
        let hash = found.map(|row| row.get::<_, String>("definition_hash"));
        let state = match hash {
            None => "not deployed",
            Some(hash) if hash == definition_hash(model) => "deployed",
            Some(_) => "changed",
        };
        let text = |name: &str| found.and_then(|row| row.get::<_, Option<String>>(name));
        let takes: Vec<String> = model
            .routes
            .iter()
            .map(|route| format!("{}/{}", route.source, route.event_type.as_deref().unwrap_or("*")))
            .collect();
        rows.push(vec![
            model.name.clone(),
            state.to_owned(),
            text("outcome").unwrap_or_else(|| "-".to_owned()),
            found
                .and_then(|row| row.get::<_, Option<f64>>("seconds_ago"))
                .map_or_else(|| "-".to_owned(), age),
            found
                .and_then(|row| row.get::<_, Option<i64>>("row_count"))
                .map_or_else(|| "-".to_owned(), figure),
            text("detail").unwrap_or_default(),
            model.kind.name().to_owned(),
            takes.join(", "),
        ]);
    }
    for broken in &project.broken {
        let cells = [broken.name.as_str(), "broken", "-", "-", "-", "", "-", ""];
        rows.push(cells.map(str::to_owned).to_vec());
    }
    if terminal.table(&COLUMNS, &rows, extent) {
        terminal.line("");
        terminal.hint("--wide shows every column");
    }
    for problem in project.problems() {
        terminal.bad(problem);
    }
    Ok(if project.broken.is_empty() { CommandOutcome::Done } else { CommandOutcome::Bad })
}
