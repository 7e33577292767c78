//! Compares the clocks of this machine, the database and S3.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use aws_sdk_s3::Client as S3;
use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use millrace::database::failure::from_postgres;
use millrace::{Error, Kind, Result};
use tokio_postgres::Client;

use super::finding::Finding;
use crate::environment::aws_failure;
use crate::terminal::age;

const CHECK: &str = "clocks";
const NOW: &str = include_str!("queries/now.sql");
/// Signatures with a timestamp are still valid; lag is slightly wrong.
const WARN_SECONDS: f64 = 5.0;
/// Signed requests are refused.
const PROBLEM_SECONDS: f64 = 60.0;

/// How many seconds the clock of the database is ahead of this machine.
pub async fn database(client: &Client) -> Result<f64> {
    let before = unix_seconds(SystemTime::now());
    let row = client
        .query_one(NOW, &[])
        .await
        .map_err(|error| from_postgres("read the clock of the database", error))?;
    let after = unix_seconds(SystemTime::now());
    Ok(row.get::<_, f64>("unix_seconds") - (before + after) / 2.0)
}

/// How many seconds the clock of S3 is ahead of this machine, by the header of a response, which has whole seconds.
pub async fn s3(s3: &S3, bucket: &str) -> Result<f64> {
    let heard = Heard::default();
    let before = unix_seconds(SystemTime::now());
    s3.head_bucket()
        .bucket(bucket)
        .customize()
        .interceptor(heard.clone())
        .send()
        .await
        .map_err(|error| aws_failure("ask for the bucket", &error))?;
    let after = unix_seconds(SystemTime::now());
    let date = heard.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    let date = date.ok_or_else(|| Error::new(Kind::Contract, "the response of S3 has no Date header"))?;
    let time = DateTime::from_str(&date, DateTimeFormat::HttpDate)
        .map_err(|error| Error::new(Kind::Contract, "parse the Date header of S3").with_source(error))?;
    // The header is truncated to the second. Half a second is the best estimate of the rest.
    Ok(time.as_secs_f64() + 0.5 - (before + after) / 2.0)
}

fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Stores the `Date` header of a response.
#[derive(Debug, Clone, Default)]
struct Heard(Arc<Mutex<Option<String>>>);

impl Intercept for Heard {
    fn name(&self) -> &'static str {
        "KeepDate"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> std::result::Result<(), BoxError> {
        let date = context.response().headers().get("date").map(str::to_owned);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date;
        Ok(())
    }
}

/// The name of each clock, and how many seconds it is ahead of this machine.
pub fn compare(others: &[(&str, f64)]) -> Finding {
    let mut clocks = vec![("this machine", 0.0)];
    clocks.extend(others);
    let mut apart = Vec::new();
    let mut worst: f64 = 0.0;
    for (index, (name, ahead)) in clocks.iter().enumerate() {
        for (other, other_ahead) in &clocks[..index] {
            let skew = (ahead - other_ahead).abs();
            worst = worst.max(skew);
            if skew > WARN_SECONDS {
                let (ahead, behind) = if ahead > other_ahead { (name, other) } else { (other, name) };
                apart.push(format!("{ahead} is {} ahead of {behind}", age(skew)));
            }
        }
    }
    let action = "timedatectl status  # on the machine whose clock is wrong; NTP should be active";
    match worst {
        worst if worst > PROBLEM_SECONDS => Finding::problem(CHECK, apart.join("; "), action),
        worst if worst > WARN_SECONDS => Finding::warning(CHECK, apart.join("; "), action),
        _ => {
            let names: Vec<&str> = clocks.iter().map(|(name, _)| *name).collect();
            Finding::ok(CHECK, format!("{} agree within {WARN_SECONDS} s", names.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn every_pair_of_clocks_is_compared() {
        for (database, s3, level, words) in [
            (0.1, -0.4, Level::Ok, "agree"),
            (6.0, 0.0, Level::Warning, "the database is 6 s ahead of this machine; S3"),
            (4.0, -4.0, Level::Warning, "the database is 8 s ahead of S3"),
            (-70.0, -70.5, Level::Problem, "this machine is 1 min ahead of the database"),
        ] {
            let finding = compare(&[("the database", database), ("S3", s3)]);
            assert_eq!(finding.level, level, "{finding:?}");
            let found = finding.found.replace("the database is 6 s ahead of S3", "S3");
            assert!(found.contains(words), "{found}");
        }
    }
}
