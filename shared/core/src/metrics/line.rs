//! One line in CloudWatch's embedded metric format.
//!
//! A JSON object. `_aws` lists the members that are metrics, their units and their dimensions.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::names::Scope;
use super::values::{MetricValue, Values};

const NAMESPACE: &str = "Millrace";
const FUNCTION: &str = "function";
const SOURCE: &str = "source";

pub struct MetricLine<'l> {
    pub function: &'l str,
    pub source: Option<&'l str>,
    /// Not a dimension. The log lines of the invocation have the same id.
    pub request_id: Option<&'l str>,
    pub timestamp_millis: u64,
    pub values: &'l Values,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    timestamp: u64,
    cloud_watch_metrics: Vec<MetricDirective>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MetricDirective {
    namespace: &'static str,
    dimensions: &'static [&'static [&'static str]],
    metrics: Vec<Definition>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    name: &'static str,
    unit: &'static str,
}

impl MetricLine<'_> {
    /// The line with its newline.
    pub fn to_json(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(1_024);
        // Writing numbers and names to memory cannot fail.
        if serde_json::to_writer(&mut text, self).is_err() {
            return Vec::new();
        }
        text.push(b'\n');
        text
    }

    fn directives(&self) -> Vec<MetricDirective> {
        let by_function: &[&[&str]] = &[&[FUNCTION]];
        let by_source: &[&[&str]] = &[&[FUNCTION], &[FUNCTION, SOURCE]];
        let mut directives = Vec::with_capacity(2);
        for (scope, dimensions) in [(Scope::Source, by_source), (Scope::Function, by_function)] {
            let scope_here = |of: Scope| if self.source.is_none() { Scope::Function } else { of };
            let metrics: Vec<Definition> = self
                .values
                .values()
                .filter(|measured| scope_here(measured.metric.scope) == scope)
                .map(|measured| Definition { name: measured.metric.name, unit: measured.metric.unit.name() })
                .collect();
            if !metrics.is_empty() {
                directives.push(MetricDirective { namespace: NAMESPACE, dimensions, metrics });
            }
        }
        directives
    }
}

impl Serialize for MetricLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let metadata = Metadata { timestamp: self.timestamp_millis, cloud_watch_metrics: self.directives() };
        map.serialize_entry("_aws", &metadata)?;
        map.serialize_entry(FUNCTION, self.function)?;
        if let Some(source) = self.source {
            map.serialize_entry(SOURCE, source)?;
        }
        if let Some(request_id) = self.request_id {
            map.serialize_entry("request_id", request_id)?;
        }
        for (name, measured) in self.values {
            match &measured.value {
                MetricValue::Sum(sum) => map.serialize_entry(name, sum)?,
                MetricValue::Each(values) if values.len() == 1 => map.serialize_entry(name, &values[0])?,
                MetricValue::Each(values) => map.serialize_entry(name, values)?,
            }
        }
        map.end()
    }
}
