//! `millrace models list`

use millrace::Result;
use millrace::database::Connection;
use millrace::database::failure::from_postgres;
use millrace_models::project::Project;
use millrace_models::registry::definition_hash;
use tokio_postgres::types::Type;

use super::connect::deadline;
use crate::commands::Outcome;
use crate::terminal::{Align, Terminal, age, figure, one_line};

const DEPLOYED_MODELS: &str = include_str!("../../queries/deployed_models.sql");

pub async fn run(project: &Project, connection: &mut Connection, terminal: &mut Terminal) -> Result<Outcome> {
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
        let last = |name: &str| found.and_then(|row| row.get::<_, Option<i64>>(name));
        let takes: Vec<String> = model
            .routes
            .iter()
            .map(|route| format!("{}/{}", route.source, route.event_type.as_deref().unwrap_or("*")))
            .collect();
        rows.push(vec![
            model.name.clone(),
            model.kind.name().to_owned(),
            takes.join(", "),
            state.to_owned(),
            last("row_count").map_or_else(|| "-".to_owned(), figure),
            found
                .and_then(|row| row.get::<_, Option<f64>>("seconds_ago"))
                .map_or_else(|| "-".to_owned(), age),
            found.and_then(|row| row.get::<_, Option<String>>("outcome")).unwrap_or_else(|| "-".to_owned()),
            found
                .and_then(|row| row.get::<_, Option<String>>("detail"))
                .map_or_else(String::new, |detail| one_line(&detail, 60)),
        ]);
    }
    for broken in &project.broken {
        let mut row = vec!["-".to_owned(); 7];
        row[0].clone_from(&broken.name);
        row[3] = "broken".to_owned();
        rows.push(row);
    }
    use Align::{Left, Right};
    let columns = [
        ("model", Left),
        ("kind", Left),
        ("takes", Left),
        ("state", Left),
        ("rows, last run", Right),
        ("ago", Right),
        ("outcome", Left),
        ("", Left),
    ];
    terminal.table(&columns, &rows);
    for problem in project.problems() {
        terminal.bad(problem);
    }
    Ok(if project.broken.is_empty() { Outcome::Done } else { Outcome::Bad })
}
