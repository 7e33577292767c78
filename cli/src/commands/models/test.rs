//! `millrace models test`

use millrace::Result;
use millrace::database::Connection;
use millrace_models::model::{Model, Severity};
use millrace_models::testing;

use super::{Outcome, deadline};
use crate::terminal::{Terminal, figure};

pub async fn run(models: &[&Model], connection: &mut Connection, terminal: &mut Terminal) -> Result<Outcome> {
    let (mut ok, mut warned, mut failed) = (0_u64, 0_u64, 0_u64);
    for model in models.iter().filter(|model| !model.tests.is_empty()) {
        let findings = match Box::pin(testing::run(connection, model, deadline())).await {
            Ok(findings) => findings,
            Err(error) => {
                terminal.bad(&format!("  failed  {}: {}", model.name, error.chain()));
                failed += 1;
                continue;
            }
        };
        for finding in findings {
            let name = format!("{}: {}", model.name, finding.test);
            let count = figure(finding.failing);
            match (finding.failing, finding.severity) {
                (0, _) => {
                    terminal.good(&format!("  ok      {name}"));
                    ok += 1;
                }
                (_, Severity::Warn) => {
                    terminal.line(&format!("  warned  {name}: {count} fail"));
                    warned += 1;
                }
                (_, Severity::Error) => {
                    terminal.bad(&format!("  failed  {name}: {count} fail"));
                    failed += 1;
                }
            }
        }
    }
    terminal.line(&format!("{ok} ok, {warned} warned, {failed} failed"));
    Ok(if failed == 0 { Outcome::Done } else { Outcome::Bad })
}
