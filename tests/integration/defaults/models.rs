//! The keys in the header of a model: `docs/models.md` states the defaults.

use millrace_models::model::Model;
use millrace_models::project::Project;

use super::table::{name, rows, section};

/// A model with the lines `header`, which are as many for every model that is compared.
fn model(header: &[&str]) -> Result<Model, String> {
    let header: String = header.iter().map(|line| format!("-- {line}\n")).collect();
    let text = format!("{header}select payload->>'id' as order_id from batch\n");
    let project = Project::parse(&[("models/orders.sql".to_owned(), text)]);
    project.model("orders").cloned().ok_or_else(|| project.problems().join("\n"))
}

const KIND: &str = "kind = \"fact\"";
const SOURCE: &str = "source = \"shop/orders\"";
const KEY: &str = "key = [\"order_id\"]";

#[test]
fn the_documented_defaults_of_a_header_are_those_of_the_code() {
    let default = model(&[KIND, SOURCE, KEY, "# nothing"]).unwrap();
    let has_default = |setting: &str| {
        assert_eq!(
            model(&[KIND, SOURCE, KEY, setting]).as_ref(),
            Ok(&default),
            "`{setting}` is not the default"
        );
    };
    for row in rows(&section("docs/models.md", "## The header"), "key") {
        let key = name(&row[0]);
        match (key.as_str(), row[2].as_str()) {
            (required, "required") => {
                let others: Vec<&str> =
                    [KIND, SOURCE].into_iter().filter(|line| !line.starts_with(required)).collect();
                assert_eq!(others.len(), 1, "{required}");
                let problems = model(&others).unwrap_err();
                assert!(problems.contains(&format!("`{required}`")), "{problems}");
            }
            ("key", "none") => assert!(model(&[KIND, SOURCE]).unwrap().key.is_empty()),
            ("tests", "none") => assert!(default.tests.is_empty()),
            ("indexes", "none") => assert!(default.indexes.is_empty()),
            ("description", "none") => assert_eq!(default.description, None),
            ("columns", "none") => assert!(default.columns.is_empty()),
            ("reads", "found in the query") => has_default("reads = [\"batch\"]"),
            (key, value) => has_default(&format!("{key} = {}", value.replace('`', ""))),
        }
        if let Some((_, severity)) = row[3].split_once("the default is `") {
            let severity = severity.split('`').next().unwrap();
            let test = format!("tests = [{{test = \"order_id > ''\", severity = \"{severity}\"}}]");
            let without = model(&[KIND, SOURCE, KEY, "tests = [\"order_id > ''\"]"]);
            assert_eq!(model(&[KIND, SOURCE, KEY, &test]), without, "`{severity}` is not the default");
        }
    }
}
