//! The files of `pipeline/`.

use std::path::Path;

use millrace::config::Sources;
use millrace_models::project::Project;

use super::finding::{Finding, or_ok};
use crate::terminal::counted;

/// Checks `sources.toml`. A function does not start with an invalid file.
pub fn sources(folder: &Path) -> (Vec<Finding>, Option<Sources>) {
    match Sources::load(folder) {
        Ok(sources) => {
            let webhooks = counted(sources.webhooks().count() as u64, "webhook", "webhooks");
            let found = format!("{webhooks} in sources.toml");
            (vec![Finding::ok("sources", found)], Some(sources))
        }
        Err(error) => {
            let action = format!("\"${{EDITOR:-vi}}\" {}", folder.join("sources.toml").display());
            (vec![Finding::problem("sources", error.chain(), action)], None)
        }
    }
}

/// Checks the files of the models. The events of a broken model wait.
pub fn models(folder: &Path) -> (Vec<Finding>, Option<Project>) {
    let project = match Project::load(folder) {
        Ok(project) => project,
        Err(error) => return (vec![Finding::unknown("models", error.chain())], None),
    };
    let findings = project
        .broken
        .iter()
        .map(|broken| Finding::problem("models", broken.problems.join("; "), "millrace models check"))
        .collect();
    let models = counted(project.models.len() as u64, "model", "models");
    (or_ok(findings, "models", format!("{models}, nothing wrong")), Some(project))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn a_mistake_is_found_with_its_place() {
        let folder = std::env::temp_dir().join(format!("doctor-configuration-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("models")).unwrap();
        assert_eq!(sources(&folder).0[0].level, Level::Ok);
        assert_eq!(models(&folder).0[0].level, Level::Ok);
        std::fs::write(folder.join("sources.toml"), "[shop.cvs]").unwrap();
        std::fs::write(folder.join("models/lost.sql"), "-- kind = \"view\"\nselect * from nothing").unwrap();
        let (found, _) = sources(&folder);
        assert_eq!(found[0].level, Level::Problem);
        assert!(found[0].found.contains("sources.toml:1:"), "{found:?}");
        let (found, _) = models(&folder);
        assert_eq!(
            (found[0].level, found[0].action.as_deref()),
            (Level::Problem, Some("millrace models check"))
        );
        assert!(found[0].found.contains("models/lost.sql:2:15"), "{found:?}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
