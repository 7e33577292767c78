//! `millrace dead-letters redrive`: the function redrive, invoked until nothing is left to do.

use std::collections::BTreeMap;

use aws_sdk_lambda::primitives::Blob;
use millrace::dead_letter::Filter;
use millrace::dead_letter::run::{ReasonCount, RedriveRun, RedriveSummary, RunRequest};
use millrace::{Error, Kind, Result};
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;

use super::context::DeadLetterContext;
use super::ids;
use super::output::{print_json, stopped};
use super::selection::check_meant;
use crate::arguments::dead_letters::RedriveDeadLetters;
use crate::commands::{CommandOutcome, Stop};
use crate::dead_letters::ScanProgress;
use crate::environment::aws_failure;
use crate::terminal::table::TableColumn;
use crate::terminal::{TableExtent, Terminal, counted, figure, one_line};

/// The maximum number of consecutive runs that redrive nothing although dead letters remain.
const MAX_RUNS_WITHOUT_PROGRESS: u32 = 3;

/// All runs together; what `--json` prints.
#[derive(Debug, Default, Serialize)]
struct Sums {
    redriven: u64,
    duplicate: u64,
    void: u64,
    failed: u64,
    /// Of the last run: what waits is met again by each.
    pending: u64,
    left: u64,
    runs: u64,
    /// True when `--at-most` or somebody ended it before everything was done.
    more: bool,
    reasons: Vec<ReasonCount>,
}

impl Sums {
    fn add(&mut self, answer: RedriveSummary) {
        self.redriven += answer.redriven;
        self.duplicate += answer.duplicate;
        self.void += answer.void;
        self.failed += answer.failed;
        self.pending = answer.pending;
        self.left = answer.left;
        self.more = answer.more;
        self.runs += 1;
        let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
        for failure in self.reasons.drain(..).chain(answer.reasons) {
            *counts.entry((failure.code, failure.message)).or_default() += failure.count;
        }
        let failure = |((code, message), count)| ReasonCount { code, message, count };
        self.reasons = counts.into_iter().map(failure).collect();
        self.reasons.sort_by_key(|failure| std::cmp::Reverse(failure.count));
    }

    /// Dead letters that something became of.
    fn done(&self) -> u64 {
        self.redriven + self.duplicate + self.void + self.failed
    }
}

pub(super) fn check(arguments: &RedriveDeadLetters) -> Result<()> {
    check_meant(arguments.filter.is_empty(), arguments.all, "redrive")
}

pub(super) async fn run(
    arguments: &RedriveDeadLetters,
    context: &DeadLetterContext<'_>,
    stop: &mut Stop,
    terminal: &mut Terminal,
) -> Result<CommandOutcome> {
    let environment = context.environment;
    let function = environment.redrive_function.as_deref().ok_or_else(|| {
        Error::new(
            Kind::Config,
            "MILLRACE_REDRIVE_FUNCTION: missing; it names the function redrive of your stack, as the template's outputs say",
        )
    })?;
    let now = OffsetDateTime::now_utc();
    let Some(filter) = stop.unless_asked(ids::filter(&arguments.filter, false, context)).await? else {
        return Ok(stopped("no dead letter is redriven", &mut Terminal::stderr()));
    };
    let redrive =
        RedriveCommand { client: environment.lambda().await, function, filter, sent_before: now, arguments };
    let mut sums = Sums::default();
    let ended = {
        let progress = ScanProgress::new("redriving dead letters");
        stop.unless_asked(redrive.run(&mut sums, &progress)).await
    };
    // What was done is said, also when it could not go on.
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => {
            if sums.runs > 0 {
                print(&sums, arguments.json, terminal)?;
            }
            return Err(error);
        }
    };
    sums.more |= ended.is_none();
    print(&sums, arguments.json, terminal)?;
    if ended.is_none() {
        let mut aside = Terminal::stderr();
        return Ok(stopped(
            "the function completes the current request; run this again to continue",
            &mut aside,
        ));
    }
    Ok(if sums.failed > 0 { CommandOutcome::Bad } else { CommandOutcome::Done })
}

struct RedriveCommand<'a> {
    client: aws_sdk_lambda::Client,
    function: &'a str,
    filter: Filter,
    sent_before: OffsetDateTime,
    arguments: &'a RedriveDeadLetters,
}

impl RedriveCommand<'_> {
    /// One run of the function after another, until it has no more to do.
    async fn run(&self, sums: &mut Sums, progress: &ScanProgress) -> Result<()> {
        let mut runs_without_progress = 0;
        loop {
            let before = sums.done();
            let left = self.arguments.at_most.map(|most| most.saturating_sub(before));
            if left == Some(0) {
                return Ok(());
            }
            sums.add(self.invoke(left).await?);
            progress.say(format!("{} done, {} left", figure(sums.done()), figure(sums.left)));
            if !sums.more {
                return Ok(());
            }
            runs_without_progress = if sums.done() == before { runs_without_progress + 1 } else { 0 };
            if runs_without_progress == MAX_RUNS_WITHOUT_PROGRESS {
                let text = format!(
                    "the function made no progress in {MAX_RUNS_WITHOUT_PROGRESS} consecutive runs, although more dead letters remain"
                );
                return Err(Error::new(Kind::Transient, text));
            }
        }
    }

    async fn invoke(&self, at_most: Option<u64>) -> Result<RedriveSummary> {
        let request = RunRequest::Redrive(RedriveRun {
            filter: self.filter.clone(),
            at_most,
            rate: self.arguments.rate,
            sent_before: Some(self.sent_before),
        });
        let request = serde_json::to_vec(&request)
            .map_err(|error| Error::new(Kind::Bug, "write the request as JSON").with_source(error))?;
        let invoke = self.client.invoke().function_name(self.function);
        let answer = invoke
            .payload(Blob::new(request))
            .send()
            .await
            .map_err(|error| aws_failure(&format!("invoke the function {}", self.function), &error))?;
        let payload = answer.payload().map(AsRef::as_ref).unwrap_or_default();
        if let Some(failure) = answer.function_error() {
            let said: Value = serde_json::from_slice(payload).unwrap_or_default();
            let said = said["errorMessage"].as_str().unwrap_or(failure);
            let text = format!("the function {} failed: {}", self.function, one_line(said, 500));
            return Err(Error::new(Kind::Transient, text));
        }
        serde_json::from_slice(payload).map_err(|error| {
            let text = format!("the response of the function {} is not that of redrive", self.function);
            Error::new(Kind::Contract, text).with_source(error)
        })
    }
}

fn print(sums: &Sums, as_json: bool, terminal: &mut Terminal) -> Result<()> {
    if as_json {
        return print_json(sums, terminal);
    }
    let mut line = |count: u64, what: &str| {
        if count > 0 {
            terminal.line(&format!("  {:>9}  {what}", figure(count)));
        }
    };
    line(sums.redriven, "redriven: stored in the database, or sent to the upload queue");
    line(sums.duplicate, "duplicate: already in the database");
    line(sums.void, "void: replaced by newer data");
    line(sums.failed, "failed again: in the queue, with the new reason");
    line(sums.pending, "pending: their outcome is unknown; they stay in the queue");
    line(sums.left, "left in the queue");
    if sums.done() + sums.pending + sums.left == 0 {
        terminal.line("  no such dead letter in the dead-letter queue");
    }
    if !sums.reasons.is_empty() {
        const COLUMNS: [TableColumn; 3] = [
            TableColumn::number("dead letters"),
            TableColumn::text("reason", 16),
            TableColumn::text("message", 24),
        ];
        terminal.line("");
        let rows: Vec<Vec<String>> = sums
            .reasons
            .iter()
            .map(|failure| vec![figure(failure.count), failure.code.clone(), failure.message.clone()])
            .collect();
        terminal.table(&COLUMNS, &rows, TableExtent::Terminal);
    }
    if sums.failed > 0 {
        let failed = counted(sums.failed, "dead letter", "dead letters");
        terminal.bad(&format!("{failed} failed again: `millrace dead-letters show ID` says what to do"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(json: Value) -> RedriveSummary {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn runs_are_added_up_and_reasons_are_told_once() {
        let mut sums = Sums::default();
        let reason = |count| json!({ "code": "wrong_type", "message": "no number", "count": count });
        sums.add(answer(json!({ "redriven": 7, "duplicate": 0, "void": 0, "failed": 1, "pending": 2, "left": 12, "more": true, "reasons": [reason(1)] })));
        sums.add(answer(json!({ "redriven": 5, "duplicate": 1, "void": 1, "failed": 2, "pending": 0, "left": 0, "more": false, "reasons": [
            { "code": "field_too_long", "message": "long", "count": 1 }, reason(1)] })));
        assert_eq!((sums.redriven, sums.duplicate, sums.void, sums.failed), (12, 1, 1, 3));
        assert_eq!((sums.pending, sums.left, sums.more, sums.runs), (0, 0, false, 2));
        let reasons: Vec<(&str, u64)> =
            sums.reasons.iter().map(|failure| (failure.code.as_str(), failure.count)).collect();
        assert_eq!(reasons, [("wrong_type", 2), ("field_too_long", 1)]);
        assert_eq!(sums.done(), 17);
    }
}
