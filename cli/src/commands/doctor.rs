//! `millrace doctor`

use millrace::{Error, Kind, Result};
use serde::Serialize;

use super::Outcome;
use crate::arguments::Doctor;
use crate::checkout::Checkout;
use crate::doctor::examine;
use crate::doctor::finding::{Finding, Level};
use crate::terminal::{Terminal, counted};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Json<'a> {
    healthy: bool,
    findings: &'a [Finding],
}

pub async fn run(arguments: &Doctor, checkout: &Checkout, terminal: &mut Terminal) -> Result<Outcome> {
    let findings = examine(arguments, checkout).await?;
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    if arguments.json {
        let json = Json { healthy: worst <= Level::Warning, findings: &findings };
        let text = serde_json::to_string_pretty(&json)
            .map_err(|error| Error::new(Kind::Bug, "write the findings as JSON").with_source(error))?;
        terminal.line(&text);
    } else {
        for finding in &findings {
            print(finding, terminal);
        }
        terminal.line("");
        summarize(&findings, worst, terminal);
    }
    Ok(match worst {
        Level::Ok | Level::Warning => Outcome::Done,
        Level::Problem => Outcome::Bad,
        Level::Unknown => Outcome::Unable,
    })
}

fn print(finding: &Finding, terminal: &mut Terminal) {
    let level = match finding.level {
        Level::Ok => "ok",
        Level::Warning => "warning",
        Level::Unknown => "unknown",
        Level::Problem => "problem",
    };
    // The one place where a finding may have several lines: the mistakes of a file.
    let found = finding.found.replace('\n', &format!("\n  {:27}", ""));
    let text = format!("  {level:<8}{:<19}{found}", finding.check);
    match finding.level {
        Level::Ok => terminal.line(&text),
        _ => terminal.bad(&text),
    }
    if let Some(action) = &finding.action {
        terminal.line(&format!("  {:27}→ {action}", ""));
    }
}

fn summarize(findings: &[Finding], worst: Level, terminal: &mut Terminal) {
    let of = |level: Level| findings.iter().filter(|finding| finding.level == level).count() as u64;
    let checks = counted(findings.len() as u64, "check", "checks");
    let warnings = counted(of(Level::Warning), "warning", "warnings");
    match worst {
        Level::Ok => terminal.good(&format!("healthy: {checks}, nothing found")),
        Level::Warning => terminal.good(&format!("healthy: {checks}, {warnings}")),
        Level::Problem | Level::Unknown => terminal.bad(&format!(
            "{}, {warnings}, {} could not be made",
            counted(of(Level::Problem), "problem", "problems"),
            counted(of(Level::Unknown), "check", "checks")
        )),
    }
}
