//! Reads the metrics among a function's lines, and validates them by the format's rules and by `docs/metrics.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

/// The maximum size of a log event.
const LINE_BYTES: usize = 1 << 20;
const VALUES_AT_MOST: usize = 100;

/// The description of a metric in `docs/metrics.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    pub unit: String,
    /// `function`, and `source` when the metric is broken down by source.
    pub dimensions: BTreeSet<String>,
}

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(include_str!("../data/embedded-metric-format.schema.json"));
    jsonschema::validator_for(&schema.expect("JSON")).expect("a schema")
});

static DESCRIBED: LazyLock<BTreeMap<String, Described>> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    described_in(&std::fs::read_to_string(path).expect("docs/metrics.md"))
});

/// Every metric of `docs/metrics.md`.
pub fn described() -> &'static BTreeMap<String, Described> {
    &DESCRIBED
}

fn described_in(text: &str) -> BTreeMap<String, Described> {
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.split(" | ").collect();
        let [name, unit, dimensions, ..] = cells.as_slice() else { return None };
        let name = name.strip_prefix('`')?.strip_suffix('`')?;
        let dimensions = dimensions.split(", ").map(str::to_owned).collect();
        Some((name.to_owned(), Described { unit: (*unit).to_owned(), dimensions }))
    });
    let mut metrics = BTreeMap::new();
    for (name, described) in rows.filter(|(name, _)| name.starts_with(char::is_uppercase)) {
        let before = metrics.insert(name.clone(), described);
        assert!(before.is_none(), "docs/metrics.md has {name} twice");
    }
    metrics
}

/// The metric lines among `lines`.
pub fn metric_lines(lines: &[String]) -> Vec<Value> {
    lines
        .iter()
        .filter(|line| line.contains("\"_aws\""))
        .map(|line| check(line).unwrap_or_else(|wrong| panic!("{wrong} in {line}")))
        .collect()
}

/// The values of a metric in a line, of the function or of a source.
pub fn values(line: &Value, metric: &str) -> Vec<f64> {
    match &line[metric] {
        Value::Array(values) => values.iter().filter_map(Value::as_f64).collect(),
        value => value.as_f64().into_iter().collect(),
    }
}

/// The sum of a metric over all lines.
pub fn sum(lines: &[Value], metric: &str) -> f64 {
    lines.iter().flat_map(|line| values(line, metric)).sum()
}

/// Parses a line as JSON, or returns the violation.
pub fn check(line: &str) -> Result<Value, String> {
    if line.len() > LINE_BYTES {
        return Err(format!("{} bytes", line.len()));
    }
    let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    if let Err(wrong) = SCHEMA.validate(&value) {
        return Err(format!("{wrong} at {}", wrong.instance_path()));
    }
    let mut seen = BTreeSet::new();
    for directive in value["_aws"]["CloudWatchMetrics"].as_array().into_iter().flatten() {
        if directive["Namespace"] != "Millrace" {
            return Err(format!("namespace {}", directive["Namespace"]));
        }
        let mut dimensions = BTreeSet::new();
        for dimension in directive["Dimensions"].as_array().into_iter().flatten().flat_map(Value::as_array) {
            for name in dimension.iter().filter_map(Value::as_str) {
                let text = value[name].as_str().filter(|text| !text.is_empty() && text.len() <= 1_024);
                text.ok_or_else(|| format!("dimension {name} has no text of its name"))?;
                dimensions.insert(name.to_owned());
            }
        }
        for metric in directive["Metrics"].as_array().into_iter().flatten() {
            let name = metric["Name"].as_str().unwrap_or_default();
            if !seen.insert(name.to_owned()) {
                return Err(format!("{name} is declared twice"));
            }
            check_value(name, &value[name])?;
            check_description(name, metric, &dimensions)?;
        }
    }
    // No other field is allowed: a field that is neither metric nor dimension would be invisible.
    let known = |name: &String| {
        seen.contains(name) || ["_aws", "function", "source", "request_id"].contains(&name.as_str())
    };
    match value.as_object().into_iter().flatten().find(|(name, _)| !known(name)) {
        Some((name, _)) => Err(format!("{name} is neither a metric nor a dimension")),
        None => Ok(value),
    }
}

fn check_value(name: &str, value: &Value) -> Result<(), String> {
    let is_number = |value: &Value| value.as_f64().is_some_and(f64::is_finite);
    let is_right = match value {
        Value::Array(values) => (1..=VALUES_AT_MOST).contains(&values.len()) && values.iter().all(is_number),
        value => is_number(value),
    };
    is_right.then_some(()).ok_or_else(|| format!("{name} has the value {value}"))
}

fn check_description(name: &str, metric: &Value, dimensions: &BTreeSet<String>) -> Result<(), String> {
    let described = described().get(name).ok_or_else(|| format!("{name} is not in docs/metrics.md"))?;
    if metric["Unit"] != *described.unit {
        return Err(format!("{name} has the unit {}, in docs/metrics.md {}", metric["Unit"], described.unit));
    }
    // A source that is not declared is omitted.
    if !dimensions.contains("function") || !dimensions.is_subset(&described.dimensions) {
        return Err(format!("{name} has the dimensions {dimensions:?}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(change: impl FnOnce(&mut Value)) -> Result<Value, String> {
        let mut line = json!({
            "_aws": {
                "Timestamp": 1_700_000_000_000_u64,
                "CloudWatchMetrics": [{
                    "Namespace": "Millrace",
                    "Dimensions": [["function"], ["function", "source"]],
                    "Metrics": [{ "Name": "RowsStaged", "Unit": "Count" }]
                }]
            },
            "function": "f",
            "source": "shop",
            "RowsStaged": 7
        });
        change(&mut line);
        check(&line.to_string())
    }

    #[test]
    fn a_line_is_checked_against_the_format_and_the_docs() {
        line(|_| {}).expect("a good line");
        line(|line| line["RowsStaged"] = json!(vec![1; 100])).expect("a hundred values");
        let directive = "/_aws/CloudWatchMetrics/0";
        let wrong: [(&str, Value, &str); 10] = [
            ("/_aws/Timestamp", json!("now"), "Timestamp"),
            ("/_aws/CloudWatchMetrics/0/Namespace", json!("Other"), "namespace"),
            ("/_aws/CloudWatchMetrics/0/Metrics/0/Unit", json!("Rows"), "Unit"),
            ("/_aws/CloudWatchMetrics/0/Metrics/0/Unit", json!("Bytes"), "in docs/metrics.md"),
            ("/_aws/CloudWatchMetrics/0/Metrics/0/Name", json!("RowsLost"), "RowsLost has the value"),
            ("/_aws/CloudWatchMetrics/0/Dimensions/1/1", json!("event_type"), "event_type has no text"),
            ("/source", json!(""), "source has no text"),
            ("/RowsStaged", json!("7"), "has the value"),
            ("/RowsStaged", json!(vec![1; 101]), "has the value"),
            ("/RowsStaged", json!([]), "has the value"),
        ];
        for (pointer, value, expected) in wrong {
            let said = line(|line| *line.pointer_mut(pointer).expect(pointer) = value.clone());
            let said = said.expect_err(pointer);
            assert!(said.contains(expected), "{pointer} = {value}: {said}");
        }
        for key in ["payload", "RowsRejected"] {
            let said = line(|line| line[key] = json!(1)).expect_err(key);
            assert!(said.contains("neither"), "{said}");
        }
        let twice = |line: &mut Value| {
            let metrics = line.pointer_mut(directive).expect("a directive")["Metrics"].as_array_mut();
            let metrics = metrics.expect("metrics");
            metrics.push(metrics[0].clone());
        };
        assert!(line(twice).expect_err("twice").contains("declared twice"));
    }
}
