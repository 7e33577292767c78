//! The values of metrics since the last line; no I/O.

use std::collections::BTreeMap;

use super::line::MetricLine;
use super::names::{Metric, Scope};
use super::values::{Measured, MetricValue, VALUES_AT_MOST, Values};

/// Values since the last line, for the function as a whole and for each source.
#[derive(Debug, Default)]
pub struct Counters {
    function: Values,
    sources: BTreeMap<String, Values>,
    is_full: bool,
}

impl Counters {
    /// Adds to a metric. For a metric by source, `source` is a declared source or `None`.
    pub fn add(&mut self, metric: Metric, source: Option<&str>, count: u64) {
        match self.values(metric, source).entry(metric.name).or_insert(Measured::sum(metric)) {
            Measured { value: MetricValue::Sum(sum), .. } => *sum += count,
            measured => measured.value = MetricValue::Sum(count),
        }
    }

    /// Records a single value.
    pub fn record(&mut self, metric: Metric, source: Option<&str>, value: f64) {
        let measured = self.values(metric, source).entry(metric.name).or_insert(Measured::each(metric));
        match &mut measured.value {
            MetricValue::Each(values) => values.push(value),
            sum => *sum = MetricValue::Each(Vec::from([value])),
        }
        let is_full = matches!(&measured.value, MetricValue::Each(values) if values.len() >= VALUES_AT_MOST);
        self.is_full |= is_full;
    }

    /// Whether a metric has as many values as fit in a line.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    fn values(&mut self, metric: Metric, source: Option<&str>) -> &mut Values {
        let Some(source) = source.filter(|_| metric.scope == Scope::Source) else {
            return &mut self.function;
        };
        // `entry` would copy the name every time.
        if !self.sources.contains_key(source) {
            self.sources.insert(source.to_owned(), Values::new());
        }
        self.sources.entry(source.to_owned()).or_default()
    }

    /// Takes all values as lines, as few as possible: one per source. The first line also has the values without a source.
    pub fn lines(&mut self, function: &str, request_id: Option<&str>, timestamp_millis: u64) -> Vec<Vec<u8>> {
        let Counters { function: mut rest, sources, .. } = std::mem::take(self);
        let mut groups = Vec::new();
        for (source, mut values) in sources {
            if rest.keys().all(|name| !values.contains_key(name)) {
                values.append(&mut rest);
            }
            groups.push((Some(source), values));
        }
        groups.push((None, rest));
        let mut lines = Vec::new();
        for (source, mut values) in groups {
            while !values.is_empty() {
                let part = take_a_lines_worth(&mut values);
                let line = MetricLine {
                    function,
                    source: source.as_deref(),
                    request_id,
                    timestamp_millis,
                    values: &part,
                };
                lines.push(line.to_json());
            }
        }
        lines
    }
}

/// Takes the values that fit in a line. The rest stays in `values`.
fn take_a_lines_worth(values: &mut Values) -> Values {
    let mut part = std::mem::take(values);
    for (name, measured) in &mut part {
        if let MetricValue::Each(each) = &mut measured.value
            && each.len() > VALUES_AT_MOST
        {
            let rest = each.split_off(VALUES_AT_MOST);
            values.insert(name, Measured { metric: measured.metric, value: MetricValue::Each(rest) });
        }
    }
    part
}

#[cfg(test)]
mod tests {
    use super::super::names::{DURATION, ERRORS, ROWS_STAGED, TRANSFORM_LAG};
    use super::*;
    use serde_json::{Value as Json, json};

    fn lines(counters: &mut Counters) -> Vec<Json> {
        let lines = counters.lines("f", Some("r"), 1_700_000_000_000);
        lines.iter().map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    fn dimensions(line: &Json, metric: &str) -> Json {
        let directives = line["_aws"]["CloudWatchMetrics"].as_array().unwrap();
        let has = |directive: &&Json| {
            directive["Metrics"].as_array().unwrap().iter().any(|defined| defined["Name"] == metric)
        };
        directives.iter().find(has).unwrap()["Dimensions"].clone()
    }

    #[test]
    fn what_is_of_no_source_goes_with_the_first_source() {
        let mut counters = Counters::default();
        counters.add(ERRORS, None, 0);
        counters.record(DURATION, None, 12.5);
        counters.add(ROWS_STAGED, Some("shop"), 3);
        counters.add(ROWS_STAGED, Some("shop"), 4);
        let lines = lines(&mut counters);
        assert_eq!(lines.len(), 1);
        let line = &lines[0];
        assert_eq!(line["RowsStaged"], 7);
        assert_eq!((&line["Errors"], &line["Duration"]), (&json!(0), &json!(12.5)));
        assert_eq!(
            (&line["function"], &line["source"], &line["request_id"]),
            (&json!("f"), &json!("shop"), &json!("r"))
        );
        assert_eq!(dimensions(line, "RowsStaged"), json!([["function"], ["function", "source"]]));
        assert_eq!(dimensions(line, "Duration"), json!([["function"]]));
        assert_eq!(line["_aws"]["Timestamp"], 1_700_000_000_000_u64);
    }

    #[test]
    fn a_source_that_nobody_declared_is_no_dimension() {
        let mut counters = Counters::default();
        counters.add(ROWS_STAGED, None, 1);
        counters.add(ROWS_STAGED, Some("shop"), 2);
        let lines = lines(&mut counters);
        assert_eq!(lines.len(), 2, "one value of a name a line");
        assert_eq!((&lines[0]["source"], &lines[0]["RowsStaged"]), (&json!("shop"), &json!(2)));
        assert_eq!((&lines[1]["source"], &lines[1]["RowsStaged"]), (&Json::Null, &json!(1)));
        assert_eq!(dimensions(&lines[1], "RowsStaged"), json!([["function"]]));
    }

    #[test]
    fn a_line_holds_a_hundred_values_and_none_is_lost() {
        let mut counters = Counters::default();
        for value in 0..250 {
            assert_eq!(counters.is_full(), value >= 100);
            counters.record(TRANSFORM_LAG, Some("shop"), f64::from(value));
            counters.add(ERRORS, None, 1);
        }
        let lines = lines(&mut counters);
        let counts: Vec<usize> =
            lines.iter().map(|line| line["TransformLag"].as_array().unwrap().len()).collect();
        assert_eq!(counts, [100, 100, 50]);
        let sum: f64 = lines
            .iter()
            .flat_map(|line| line["TransformLag"].as_array().unwrap())
            .map(|v| v.as_f64().unwrap())
            .sum();
        assert_eq!(sum, 31_125.0);
        assert_eq!(lines.iter().filter(|line| line["Errors"] == 250).count(), 1);
        assert!(!counters.is_full());
        assert!(counters.lines("f", None, 0).is_empty());
    }
}
