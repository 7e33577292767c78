//! `millrace doctor`

use millrace::{Error, Kind, Result};
use serde::Serialize;

use super::CommandOutcome;
use crate::arguments::Doctor;
use crate::checkout::Checkout;
use crate::doctor::examine;
use crate::doctor::finding::{Finding, Level};
use crate::terminal::width::columns;
use crate::terminal::{Terminal, counted};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct DoctorOutput<'a> {
    healthy: bool,
    findings: &'a [Finding],
}

pub async fn run(arguments: &Doctor, checkout: &Checkout, terminal: &mut Terminal) -> Result<CommandOutcome> {
    let findings = examine(arguments, checkout).await?;
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    if arguments.json {
        let json = DoctorOutput { healthy: worst <= Level::Warning, findings: &findings };
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
        Level::Ok | Level::Warning => CommandOutcome::Done,
        Level::Problem => CommandOutcome::Bad,
        Level::Unknown => CommandOutcome::Unable,
    })
}

/// One line: level, check, what was found. What does not fit the line, and what to do, is below it.
fn print(finding: &Finding, terminal: &mut Terminal) {
    const BELOW: &str = "           ";
    let level = match finding.level {
        Level::Ok => "ok",
        Level::Warning => "warning",
        Level::Unknown => "unknown",
        Level::Problem => "problem",
    };
    let line = format!("  {level:<9}{:<19}{}", finding.check, finding.found);
    let is_short = !finding.found.contains('\n') && columns(&line) <= terminal.width();
    let line = if is_short { line } else { format!("  {level:<9}{}", finding.check) };
    match finding.level {
        Level::Ok => terminal.line(&line),
        _ => terminal.bad(&line),
    }
    if !is_short {
        terminal.prose(BELOW, &finding.found);
    }
    if let Some(action) = &finding.action {
        let (command, note) = action.split_once("  # ").unwrap_or((action, ""));
        terminal.command(&format!("{BELOW}→ "), command);
        if !note.is_empty() {
            terminal.prose(&format!("{BELOW}  # "), note);
        }
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
