//! `millrace put`: upload, then follow.

use std::path::Path;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use millrace::{Error, Kind, Result};

use super::CommandOutcome;
use crate::arguments::Put;
use crate::checkout::Checkout;
use crate::environment::Environment;
use crate::follow::{Followed, follow};
use crate::loads::{self, LoadProgress};
use crate::terminal::{Terminal, bytes, figure, seconds};
use crate::upload::{UploadTarget, upload};

pub async fn run(arguments: &Put, checkout: &Checkout, terminal: &mut Terminal) -> Result<CommandOutcome> {
    let environment = Environment::load(checkout)?;
    let suffix = match &arguments.key_suffix {
        Some(suffix) => suffix.clone(),
        None => file_name(&arguments.file)?,
    };
    let target = UploadTarget {
        bucket: environment.bucket.clone(),
        key: format!("incoming/{}/{}/{suffix}", arguments.source, arguments.event_type),
    };
    let size = std::fs::metadata(&arguments.file)
        .map_err(|error| {
            Error::new(Kind::Config, format!("read {}", arguments.file.display())).with_source(error)
        })?
        .len();
    let clients = environment.clients().await?;
    // Before the upload: whoever cannot be told how it ends should know at once.
    let database = match arguments.no_wait {
        true => None,
        false => Some(loads::connect(&environment.database_url, "millrace put").await?),
    };

    let began = Instant::now();
    let bar = bar(terminal, Some(size));
    let version = upload(&clients.s3, &arguments.file, &target, |sent| bar.set_position(sent)).await?;
    bar.finish_and_clear();
    terminal.line(&format!("uploaded  {} in {}", bytes(size), seconds(began.elapsed())));
    terminal.line(&format!("          s3://{}/{}", target.bucket, target.key));
    terminal.line(&format!("          version {version}"));
    let Some(database) = database else {
        return Ok(CommandOutcome::Done);
    };

    let began = Instant::now();
    let bar = self::bar(terminal, None);
    let followed = follow(
        &database,
        &clients,
        &environment.dead_letter_queue_url,
        &target,
        &version,
        arguments.timeout,
        |load| bar.set_message(progress(load)),
    )
    .await?;
    bar.finish_and_clear();
    let took = seconds(began.elapsed());
    Ok(match followed {
        Followed::Ended(load, end) => {
            let text = format!("{:<9} {} in {took}", end.outcome, counts(&load));
            terminal.status_line(end.is_good(), &text);
            if let Some(reason) = &end.reason {
                terminal.prose("          ", reason);
            }
            if load.rejected > 0 || !end.is_good() {
                terminal.line("          `millrace dead-letters list` shows what was rejected");
            }
            if end.is_good() { CommandOutcome::Done } else { CommandOutcome::Bad }
        }
        Followed::DeadLettered(reason) => {
            terminal.bad(&format!("failed    {reason}"));
            terminal.line("          `millrace dead-letters list` shows it");
            CommandOutcome::Bad
        }
        Followed::TimedOut(load) => {
            terminal.bad(&format!("still under way after {took}: {}", progress(load.as_ref())));
            terminal.line("          the load continues; `millrace status` shows its result");
            CommandOutcome::TimedOut
        }
    })
}

/// "336,776 rows staged, 0 rejected, 0 repaired"
pub(super) fn counts(load: &LoadProgress) -> String {
    format!(
        "{} rows staged, {} rejected, {} repaired",
        figure(load.staged),
        figure(load.rejected),
        figure(load.repaired)
    )
}

fn progress(load: Option<&LoadProgress>) -> String {
    match load {
        Some(load) => counts(load),
        None => "in the upload queue".to_owned(),
    }
}

fn file_name(file: &Path) -> Result<String> {
    file.file_name().and_then(|name| name.to_str()).map(str::to_owned).ok_or_else(|| {
        Error::new(Kind::Config, format!("{}: its name is not UTF-8; give --key-suffix", file.display()))
    })
}

/// A bar for a known size, else a spinner with a message; hidden unless a person is looking.
fn bar(terminal: &Terminal, size: Option<u64>) -> ProgressBar {
    let target =
        if terminal.is_interactive() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let (bar, style) = match size {
        Some(size) => (
            ProgressBar::with_draw_target(Some(size), target),
            "uploading {bar:40} {bytes}/{total_bytes} {bytes_per_sec}",
        ),
        None => (ProgressBar::with_draw_target(None, target), "loading   {spinner} {msg} {elapsed}"),
    };
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
