//! Checks the server, the migrations and the deployed models against the checkout.

use millrace::database::failure::from_postgres;
use millrace::{Code, Kind, Result, migrate};
use millrace_models::project::Project;
use millrace_models::registry::definition_hash;
use tokio_postgres::Client;

use super::finding::{Finding, some_of};
use crate::terminal::counted;

const SERVER_VERSION: &str = include_str!("queries/server_version.sql");
const MODEL_HASHES: &str = include_str!("queries/model_hashes.sql");
/// The versions that the tests run on.
const VERSIONS: std::ops::RangeInclusive<i32> = 15..=18;

/// Checks the version of the server.
pub async fn version(client: &Client) -> Result<Vec<Finding>> {
    let row = client
        .query_one(SERVER_VERSION, &[])
        .await
        .map_err(|error| from_postgres("ask for the server's version", error))?;
    let (major, text): (i32, String) = (row.get("major"), row.get("version"));
    Ok(vec![supported(major, &text)])
}

fn supported(major: i32, text: &str) -> Finding {
    let (first, last) = (VERSIONS.start(), VERSIONS.end());
    let found = format!("PostgreSQL {text}");
    let action = format!(
        "migrate the data to PostgreSQL {last}: pg_dump \"$DATABASE_URL\" | psql \"$NEW_DATABASE_URL\""
    );
    match major {
        major if VERSIONS.contains(&major) => Finding::ok("database", found),
        major if major > *last => {
            Finding::warning("database", format!("{found}: tested are {first} to {last}"), action)
        }
        _ => Finding::problem("database", format!("{found}: needed is {first} or newer"), action),
    }
}

/// Checks the migrations. Also returns whether migrations are pending, so that other checks are not possible.
pub async fn migrations(client: &mut Client) -> Result<(Vec<Finding>, bool)> {
    const CHECK: &str = "migrations";
    match migrate::pending(client).await {
        Ok(pending) if pending.is_empty() => {
            let found = format!("{} applied, as the files have them", migrate::MIGRATIONS.len());
            Ok((vec![Finding::ok(CHECK, found)], false))
        }
        Ok(pending) => {
            let found = format!(
                "{} to apply: {}",
                counted(pending.len() as u64, "migration is", "migrations are"),
                some_of(&pending, pending.len())
            );
            Ok((vec![Finding::problem(CHECK, found, "millrace migrate")], true))
        }
        Err(error) if error.kind() == Kind::Config && error.code() == Code::MigrationDrift => {
            let action = "git log --oneline -- migrations/  # what the database has and this checkout does not, or not like this";
            Ok((vec![Finding::problem(CHECK, error.chain(), action)], false))
        }
        Err(error) => Err(error),
    }
}

/// Compares the deployed models with the files.
pub async fn models(client: &Client, project: &Project) -> Result<Vec<Finding>> {
    const CHECK: &str = "deployed-models";
    let rows = client
        .query(MODEL_HASHES, &[])
        .await
        .map_err(|error| from_postgres("read pipeline.models", error))?;
    let deployed = |name: &str| {
        rows.iter()
            .find(|row| row.get::<_, &str>("model") == name)
            .map(|row| row.get::<_, &str>("definition_hash"))
    };
    let mut differing = Vec::new();
    for model in &project.models {
        match deployed(&model.name) {
            Some(hash) if hash == definition_hash(model) => {}
            Some(_) => differing.push(format!("{} (changed)", model.name)),
            None => differing.push(format!("{} (not deployed)", model.name)),
        }
    }
    if differing.is_empty() {
        let count = counted(project.models.len() as u64, "model", "models");
        return Ok(vec![Finding::ok(CHECK, format!("{count}, as the files say"))]);
    }
    let found =
        format!("the deployed models differ from the files: {}", some_of(&differing, differing.len()));
    Ok(vec![Finding::warning(CHECK, found, "millrace models plan")])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn a_server_that_is_too_old_is_a_problem_and_one_that_is_too_new_a_warning() {
        for (major, level) in [(14, Level::Problem), (15, Level::Ok), (18, Level::Ok), (19, Level::Warning)] {
            assert_eq!(supported(major, "x").level, level, "{major}");
        }
    }
}
