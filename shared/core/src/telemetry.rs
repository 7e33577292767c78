//! Logs and metrics: one JSON object per line, on standard output, where Lambda collects them.
//!
//! Log once, at the boundary, with stable field names, and never a payload, a secret or a connection string.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::environment::EnvironmentReader;
use crate::metrics;

/// The settings of logs and metrics, which all functions have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a full filter such as `info,ingest_csv=debug`.
    pub log: String,
    /// The name of the function in metrics; `None` if metrics are off.
    pub metrics: Option<String>,
}

impl Settings {
    /// Reads the variables through `env`. Metrics are on by default in Lambda, which names the function.
    pub fn read(env: &mut EnvironmentReader<'_>) -> Self {
        let name = env.optional("AWS_LAMBDA_FUNCTION_NAME");
        let is_on = env.parsed("MILLRACE_METRICS", name.is_some(), |text| match text {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err("is neither on nor off".to_owned()),
        });
        let metrics = is_on.then(|| name.unwrap_or_else(|| "millrace".to_owned()));
        Settings { log: env.text("MILLRACE_LOG", "info"), metrics }
    }

    /// Starts logs and metrics.
    pub fn start(&self) {
        init(&self.log);
        if let Some(function) = &self.metrics {
            metrics::init(function);
        }
    }
}

/// Starts the JSON logs at `level`. A second call has no effect.
pub fn init(level: &str) {
    // `EnvFilter` also reads filters of spans and their fields, and links the crate regex for them.
    let filter = level.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false);
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_err() {
        tracing::debug!("the logs are already started");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Result;
    use crate::config::environment::read;

    fn metrics_of(variables: &[(&str, &str)]) -> Result<Option<String>> {
        let find = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        read(find, Settings::read).map(|settings| settings.metrics)
    }

    #[test]
    fn metrics_are_on_in_lambda_unless_told_otherwise() {
        let named = ("AWS_LAMBDA_FUNCTION_NAME", "prod-transform");
        assert_eq!(metrics_of(&[]).unwrap(), None);
        assert_eq!(metrics_of(&[named]).unwrap().as_deref(), Some("prod-transform"));
        assert_eq!(metrics_of(&[named, ("MILLRACE_METRICS", "off")]).unwrap(), None);
        assert_eq!(metrics_of(&[("MILLRACE_METRICS", "on")]).unwrap().as_deref(), Some("millrace"));
        let error = metrics_of(&[("MILLRACE_METRICS", "yes")]).unwrap_err();
        assert_eq!(error.message(), "MILLRACE_METRICS: \"yes\" is neither on nor off");
    }
}
