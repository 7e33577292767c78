//! `millrace models test`

use millrace::database::Connection;
use millrace::{Code, Result};
use millrace_models::model::{Model, Severity};
use millrace_models::testing;

use super::connect::deadline;
use crate::commands::CommandOutcome;
use crate::terminal::Terminal;

/// Tests these models. `broken` files, which cannot be tested, count as failed.
pub async fn run(
    models: &[&Model],
    broken: usize,
    connection: &mut Connection,
    terminal: &mut Terminal,
) -> Result<CommandOutcome> {
    let (mut ok, mut warned, mut failed) = (0_u64, 0_u64, broken as u64);
    for model in models {
        let findings = match Box::pin(testing::run(connection, model, deadline())).await {
            Ok(findings) => findings,
            Err(error) => {
                terminal.bad(&format!("  failed  {}: {}", model.name, error.chain()));
                if error.code() == Code::SchemaMissing {
                    terminal.line("          is it deployed? `millrace models run` does that");
                }
                failed += 1;
                continue;
            }
        };
        for finding in findings {
            let name = format!("{}: {}", model.name, finding.test);
            match (finding.failing, finding.severity) {
                (0, _) => {
                    terminal.good(&format!("  ok      {name}"));
                    ok += 1;
                }
                (_, Severity::Warn) => {
                    terminal.note(&format!("  warned  {name}: {}", finding.words));
                    warned += 1;
                }
                (_, Severity::Error) => {
                    terminal.bad(&format!("  failed  {name}: {}", finding.words));
                    failed += 1;
                }
            }
        }
    }
    terminal.status_line(failed == 0, &format!("{ok} ok, {warned} warned, {failed} failed"));
    Ok(if failed == 0 { CommandOutcome::Done } else { CommandOutcome::Bad })
}
