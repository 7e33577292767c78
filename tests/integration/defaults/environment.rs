//! The environment of each function: `docs/configuration.md` lists every variable that it reads, with its default.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use millrace::config::environment::{EnvironmentReader, read};
use millrace::telemetry;

use super::table::{CONFIGURATION, name, quoted, rows, section};

pub type Variables = BTreeMap<String, String>;

pub const FUNCTIONS: [&str; 5] = ["ingest-csv", "ingest-webhook", "transform", "refresh", "redrive"];

/// The settings that a function reads from `variables`, or the error message.
pub fn settings(function: &str, variables: &Variables) -> Result<String, String> {
    read_settings(function, |name| variables.get(name).cloned())
}

fn read_settings(function: &str, find: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    fn shown<S: Debug>(
        find: impl Fn(&str) -> Option<String>,
        build: impl FnOnce(&mut EnvironmentReader<'_>) -> S,
    ) -> Result<String, String> {
        // Every function also has the settings of logs and metrics.
        let settings = read(find, |env| (build(env), telemetry::Settings::read(env)))
            .map_err(|error| error.message().to_owned())?;
        Ok(format!("{settings:#?}"))
    }
    match function {
        "ingest-csv" => shown(find, ingest_csv::Settings::read),
        "ingest-webhook" => shown(find, ingest_webhook::Settings::read),
        "transform" => shown(find, transform::Settings::read),
        "refresh" => shown(find, refresh::Settings::read),
        "redrive" => shown(find, redrive::Settings::read),
        other => panic!("no function {other}"),
    }
}

/// The documented variables of a function, with the cell that states the default. A section lists the variables that it
/// shares with ingest-csv before its table.
fn documented(function: &str) -> BTreeMap<String, String> {
    let table = |section: &str| -> BTreeMap<String, String> {
        rows(section, "variable").iter().map(|row| (name(&row[0]), row[1].clone())).collect()
    };
    let own = section(CONFIGURATION, &format!("## Environment of {function}"));
    let mut variables = table(&own);
    let (shared, _) = own.split_once("\n| ").expect("a table");
    if shared.contains("as above") {
        let above = table(&section(CONFIGURATION, "## Environment of ingest-csv"));
        for name in
            quoted(shared).iter().filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        {
            let default =
                above.get(name).unwrap_or_else(|| panic!("{name} is not in the table of ingest-csv"));
            variables.insert(name.clone(), default.clone());
        }
    }
    variables
}

/// A value for each required variable.
pub fn required(function: &str) -> Variables {
    documented(function)
        .into_iter()
        .filter(|(_, default)| default == "required")
        .map(|(name, _)| (name.clone(), format!("value of {name}")))
        .collect()
}

/// Fails unless `variable` has the default `value` in `function`.
pub fn check_default(function: &str, mut variables: Variables, variable: &str, value: &str) {
    let unset = settings(function, &variables).unwrap();
    variables.insert(variable.to_owned(), value.to_owned());
    let set = settings(function, &variables);
    assert_eq!(set.as_ref(), Ok(&unset), "{function}: `{value}` is not the default of {variable}");
}

#[test]
fn the_documented_defaults_of_variables_are_those_of_the_code() {
    for function in FUNCTIONS {
        for (variable, default) in documented(function) {
            let mut variables = required(function);
            if default == "required" {
                variables.remove(&variable);
                let error = settings(function, &variables).unwrap_err();
                assert_eq!(error, format!("{variable}: missing"), "{function}");
                continue;
            }
            let default = match default.strip_suffix(" in Lambda") {
                Some(default) => {
                    variables.insert("AWS_LAMBDA_FUNCTION_NAME".to_owned(), "millrace".to_owned());
                    default
                }
                None => &default,
            };
            check_default(function, variables, &variable, &default.replace(['`', ','], ""));
        }
    }
}

#[test]
fn the_documented_variables_of_a_function_are_those_that_it_reads() {
    for function in FUNCTIONS {
        let looked_up = RefCell::new(BTreeSet::new());
        let required = required(function);
        read_settings(function, |name| {
            looked_up.borrow_mut().insert(name.to_owned());
            required.get(name).cloned()
        })
        .unwrap();
        // Lambda sets these.
        let mut read = looked_up.into_inner();
        read.retain(|name| !name.starts_with("AWS_"));
        assert_eq!(documented(function).into_keys().collect::<BTreeSet<_>>(), read, "{function}");
    }
}
