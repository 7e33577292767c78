//! Checks that the counts reconcile.

use super::finding::{Finding, or_ok};
use crate::ledger::{Discrepancy, Report};
use crate::terminal::{counted, figure, one_line};

const CHECK: &str = "counts";

/// The differences that `millrace status` shows, one finding per comparison.
pub fn check(report: &Report) -> Vec<Finding> {
    let rows = report.event_types.iter().map(|counts| counts.staged).sum::<i64>();
    let found = match report.rows_counted {
        true => format!("{} staged; all counts reconcile", counted(rows, "row", "rows")),
        false => format!("{} staged, not counted; the rest reconciles", counted(rows, "row", "rows")),
    };
    let mut checks: Vec<&'static str> = report.discrepancies.iter().map(|found| found.check).collect();
    checks.dedup();
    let findings = checks.into_iter().map(|check| differing(check, &report.discrepancies)).collect();
    or_ok(findings, CHECK, found)
}

fn differing(check: &'static str, discrepancies: &[Discrepancy]) -> Finding {
    let of_this: Vec<&Discrepancy> = discrepancies.iter().filter(|found| found.check == check).collect();
    let first = of_this.first().map_or_else(String::new, |found| {
        format!(
            "; {}: {} against {}",
            one_line(&found.origin, 120),
            figure(found.expected),
            figure(found.found)
        )
    });
    let found = format!("{}: {check}{first}", counted(of_this.len() as u64, "difference", "differences"));
    Finding::problem(CHECK, found, "millrace status")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn each_comparison_that_fails_is_one_finding() {
        let discrepancy =
            |check, origin: &str| Discrepancy { check, origin: origin.to_owned(), expected: 9, found: 8 };
        let mut report = Report {
            event_types: Vec::new(),
            lag: Vec::new(),
            models: Vec::new(),
            discrepancies: vec![
                discrepancy("a = b", "x"),
                discrepancy("a = b", "y"),
                discrepancy("c = d", "z"),
            ],
            rows_counted: true,
        };
        let found = check(&report);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].found, "2 differences: a = b; x: 9 against 8");
        report.discrepancies.clear();
        assert_eq!(check(&report)[0].level, Level::Ok);
    }
}
