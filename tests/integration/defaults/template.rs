//! The parameters of `infra/template.yaml`: their defaults are those of the variables that they set, and those in
//! `docs/configuration.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde_json::Value;

use super::environment::{FUNCTIONS, check_default, required};
use super::read;
use super::table::{CONFIGURATION, quoted, rows, section};

/// The template without its tags: `!Ref ChunkRows` is the text `ChunkRows`.
static TEMPLATE: LazyLock<Value> = LazyLock::new(|| {
    serde_saphyr::from_str(&read("infra/template.yaml")).expect("infra/template.yaml is YAML")
});

/// The default of a parameter, as the function receives it.
fn default(parameter: &str) -> Option<String> {
    match &TEMPLATE["Parameters"][parameter]["Default"] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// The variables of each function that have the value of a parameter.
fn variables_from_parameters() -> BTreeMap<String, BTreeMap<String, String>> {
    let parameters = TEMPLATE["Parameters"].as_object().expect("parameters");
    let of = |owner: &Value| -> BTreeMap<String, String> {
        let variables = owner["Environment"]["Variables"].as_object().into_iter().flatten();
        variables
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .filter(|(_, value)| parameters.contains_key(value))
            .collect()
    };
    let mut functions = BTreeMap::new();
    for (_, resource) in TEMPLATE["Resources"].as_object().expect("resources") {
        if resource["Type"] == "AWS::Serverless::Function" {
            let name = resource["Properties"]["FunctionName"].as_str().expect("a name");
            let name = name.strip_prefix("${AWS::StackName}-").expect("the prefix of the stack");
            let mut variables = of(&TEMPLATE["Globals"]["Function"]);
            variables.extend(of(&resource["Properties"]));
            functions.insert(name.to_owned(), variables);
        }
    }
    assert_eq!(functions.keys().map(String::as_str).collect::<BTreeSet<_>>(), FUNCTIONS.into());
    functions
}

#[test]
fn the_defaults_of_parameters_are_those_of_the_code() {
    for (function, variables) in variables_from_parameters() {
        // MILLRACE_PIPELINE and MILLRACE_LOG are set for all functions.
        assert!(variables.len() >= 2, "{function}: {variables:?}");
        for (variable, parameter) in variables {
            let value = default(&parameter).unwrap_or_else(|| panic!("{parameter} has no default"));
            check_default(&function, required(&function), &variable, &value);
        }
    }
}

#[test]
fn the_documented_defaults_of_parameters_are_those_of_the_template() {
    let set: BTreeSet<String> =
        variables_from_parameters().into_values().flat_map(BTreeMap::into_values).collect();
    for row in rows(&section(CONFIGURATION, "## Parameters of the template"), "parameter") {
        let parameters = quoted(&row[0]);
        let stated = match row[1].as_str() {
            "required" => vec![None; parameters.len()],
            "none" => vec![Some(String::new()); parameters.len()],
            "as above" => {
                // The table of the function states these, and the other test compares them.
                assert!(parameters.iter().all(|parameter| set.contains(parameter)), "{parameters:?}");
                continue;
            }
            cell => cell.split(", ").map(|value| Some(value.replace('`', ""))).collect(),
        };
        let actual: Vec<Option<String>> = parameters.iter().map(|parameter| default(parameter)).collect();
        assert_eq!(stated, actual, "{parameters:?}");
    }
}
