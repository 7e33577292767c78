//! Models selected by name.

use millrace::config::nearest::did_you_mean;
use millrace::{Code, Error, Kind, Result};
use millrace_models::model::Model;
use millrace_models::project::Project;

/// The models with these names; without a name, every model.
pub(super) fn select<'p>(project: &'p Project, names: &[String]) -> Result<Vec<&'p Model>> {
    if names.is_empty() {
        return Ok(project.models.iter().collect());
    }
    let mut models = Vec::new();
    for name in names {
        let model = find(project, name)?;
        if !models.contains(&model) {
            models.push(model);
        }
    }
    Ok(models)
}

pub(super) fn find<'p>(project: &'p Project, name: &str) -> Result<&'p Model> {
    project.model(name).ok_or_else(|| {
        let broken = project.broken.iter().find(|broken| broken.name == name);
        let message = match broken {
            Some(broken) => broken.problems.join("\n"),
            None => {
                let names = || project.models.iter().map(|model| model.name.as_str());
                let hint = match did_you_mean(name, names()) {
                    hint if hint.is_empty() && !project.models.is_empty() => {
                        format!("; there are {}", names().collect::<Vec<_>>().join(", "))
                    }
                    hint => hint,
                };
                format!("there is no model `{name}`{hint}")
            }
        };
        Error::new(Kind::Config, message).with_code(Code::ModelUnknown)
    })
}
