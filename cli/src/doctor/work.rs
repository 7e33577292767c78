//! Checks for overdue work: batches, models, views, backfills.

use std::time::Duration;

use millrace::Result;
use millrace::database::failure::from_postgres;
use millrace_models::runs::RunOutcome;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::finding::{Finding, or_ok};
use crate::lag::Lag;
use crate::model_runs::ModelRun;
use crate::terminal::{age, counted, one_line};

const IDLE_BACKFILLS: &str = include_str!("queries/idle_backfills.sql");
/// Refresh runs every few minutes.
const STALE_SECONDS: f64 = 3_600.0;
const IDLE_SECONDS: f64 = 3_600.0;

/// Batches that have waited too long for transform.
pub fn unprocessed(lag: &[Lag], limit: Duration) -> Vec<Finding> {
    const CHECK: &str = "unprocessed";
    let findings = lag
        .iter()
        .filter_map(|lag| {
            let seconds = lag.oldest_seconds.filter(|seconds| *seconds > limit.as_secs_f64())?;
            let found = format!(
                "{}/{}: {} not processed, the oldest for {}",
                lag.source,
                lag.event_type,
                counted(lag.unprocessed_batches, "batch", "batches"),
                age(seconds)
            );
            Some(Finding::problem(CHECK, found, "millrace models run"))
        })
        .collect();
    or_ok(findings, CHECK, format!("no batch waits for longer than {}", age(limit.as_secs_f64())))
}

/// Models whose last run failed.
pub fn runs(models: &[ModelRun]) -> Vec<Finding> {
    const CHECK: &str = "model-runs";
    let findings = models
        .iter()
        .filter(|run| run.outcome.as_deref() == Some(RunOutcome::Failed.name()))
        .map(|run| {
            let why = run.detail.as_deref().unwrap_or("no reason was recorded");
            let found = format!(
                "{}: the last {} failed, {} ago: {}",
                run.model,
                run.activity.as_deref().unwrap_or("run"),
                age(run.finished_seconds.unwrap_or_default()),
                one_line(why, 300)
            );
            Finding::problem(CHECK, found, "millrace models check && millrace models plan")
        })
        .collect();
    let models = counted(models.len() as u64, "model", "models");
    or_ok(findings, CHECK, format!("{models}, the last run of none failed"))
}

/// Rollups and materialized views that have been stale for too long.
pub fn stale(models: &[ModelRun]) -> Vec<Finding> {
    const CHECK: &str = "stale";
    let findings = models
        .iter()
        .filter_map(|run| {
            let seconds = run.stale_seconds.filter(|seconds| *seconds > STALE_SECONDS)?;
            let found = format!("{}: not refreshed since it was invalidated {} ago", run.model, age(seconds));
            let action = "aws lambda invoke --function-name millrace-refresh /dev/stdout";
            Some(Finding::problem(CHECK, found, action))
        })
        .collect();
    or_ok(findings, CHECK, format!("no rollup or view is stale for longer than {}", age(STALE_SECONDS)))
}

/// Unfinished backfills without progress.
pub async fn backfills(client: &Client) -> Result<Vec<Finding>> {
    const CHECK: &str = "backfills";
    let rows = client
        .query_typed(IDLE_BACKFILLS, &[(&IDLE_SECONDS, Type::FLOAT8)])
        .await
        .map_err(|error| from_postgres("look for backfills without progress", error))?;
    let findings = rows
        .iter()
        .map(|row| {
            let model: &str = row.get("model");
            let found = format!(
                "{model}: a backfill has {} left and made no progress for {}",
                counted(row.get::<_, i64>("batch_count"), "batch", "batches"),
                age(row.get("idle_seconds"))
            );
            Finding::warning(CHECK, found, format!("millrace models backfill {model}"))
        })
        .collect();
    Ok(or_ok(findings, CHECK, "every backfill makes progress"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    fn lag(oldest_seconds: Option<f64>) -> Lag {
        Lag {
            source: "shop".to_owned(),
            event_type: "orders".to_owned(),
            unprocessed_batches: 3,
            unprocessed_rows: 30,
            oldest_batch_id: None,
            oldest_seconds,
            newest_received_seconds: None,
            newest_processed_seconds: None,
            transform_seconds_p50: None,
            transform_seconds_p95: None,
        }
    }

    fn run(outcome: &str, stale_seconds: Option<f64>) -> ModelRun {
        ModelRun {
            model: "days".to_owned(),
            kind: "rollup".to_owned(),
            activity: Some("refresh".to_owned()),
            outcome: Some(outcome.to_owned()),
            detail: Some("no such table\nfacts.x".to_owned()),
            events: None,
            rows: None,
            quarantined: None,
            duration_ms: None,
            finished_seconds: Some(60.0),
            last_ok_seconds: None,
            stale_seconds,
            stale_buckets: None,
        }
    }

    #[test]
    fn what_waits_longer_than_it_may_is_named() {
        let limit = Duration::from_secs(900);
        let found = unprocessed(&[lag(None), lag(Some(900.0)), lag(Some(901.0))], limit);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].level, Level::Problem);
        assert!(
            found[0].found.contains("shop/orders: 3 batches not processed, the oldest for 15 min"),
            "{found:?}"
        );
        assert_eq!(unprocessed(&[lag(Some(899.0))], limit)[0].level, Level::Ok);
    }

    #[test]
    fn a_run_that_failed_says_why_in_one_line() {
        let found = runs(&[run("ok", None), run("skipped", None), run("failed", None)]);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].found.contains("days: the last refresh failed, 1 min ago: no such table⏎facts.x"),
            "{found:?}"
        );
        assert_eq!(runs(&[run("warned", None)])[0].level, Level::Ok);
    }

    #[test]
    fn what_was_invalidated_an_hour_ago_is_stale() {
        assert_eq!(stale(&[run("ok", None), run("ok", Some(3_600.0))])[0].level, Level::Ok);
        assert_eq!(stale(&[run("ok", Some(3_601.0))])[0].level, Level::Problem);
    }
}
