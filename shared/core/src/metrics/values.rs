//! The values of metrics in one line.

use std::collections::BTreeMap;

use super::names::Metric;

/// The maximum number of values of a metric in a line.
pub const VALUES_AT_MOST: usize = 100;

/// By the name of the metric.
pub type Values = BTreeMap<&'static str, Measured>;

#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    pub metric: Metric,
    pub value: MetricValue,
}

#[derive(Debug, Clone, PartialEq)]
pub enum MetricValue {
    /// A sum; one value per line.
    Sum(u64),
    /// Every value, so that CloudWatch can compute percentiles.
    Each(Vec<f64>),
}

impl Measured {
    pub(super) fn sum(metric: Metric) -> Self {
        Measured { metric, value: MetricValue::Sum(0) }
    }

    pub(super) fn each(metric: Metric) -> Self {
        Measured { metric, value: MetricValue::Each(Vec::new()) }
    }
}
