//! Reads the dead-letter queue for an operator.
//!
//! - [`each`]: reads every message of the queue once; [`archive`]: reads the dead letters that were moved to the bucket.
//! - [`entry`]: one parsed message; [`summary`]: one line per dead letter; [`advice`]: what to do about a dead letter.

pub mod advice;
pub mod archive;
pub mod entry;
pub mod summary;

use aws_sdk_sqs::types::QueueAttributeName;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use millrace::dead_letter::DeadLetterReader;
use millrace::{Error, Kind, Result};

use crate::environment::aws_failure;
use crate::terminal::figure;
use entry::Entry;

/// Passes each message of the queue to `see` once, without removing it. `see` returns whether to continue. Returns false if the
/// queue has more messages than a scan can receive.
pub async fn each(
    reader: &DeadLetterReader,
    progress: &ScanProgress,
    mut see: impl FnMut(Entry) -> Result<bool>,
) -> Result<bool> {
    let mut scan = reader.scan();
    while let Some(messages) = scan.next().await? {
        progress.add(messages.len());
        for message in messages {
            if !see(Entry::of_message(message, reader.sources()))? {
                scan.finish().await?;
                return Ok(true);
            }
        }
    }
    let complete = scan.is_complete();
    scan.finish().await?;
    Ok(complete)
}

/// The progress of a scan, on standard error if it is a terminal.
pub struct ScanProgress {
    bar: ProgressBar,
}

impl ScanProgress {
    /// `doing` names the operation: "reading the queue".
    pub fn new(doing: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{spinner} {prefix}: {msg} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_prefix(doing.to_owned());
        ScanProgress { bar }
    }

    /// Hidden progress.
    pub fn hidden() -> Self {
        ScanProgress { bar: ProgressBar::hidden() }
    }

    pub fn add(&self, messages: usize) {
        self.bar.inc(messages as u64);
        self.bar.set_message(figure(self.bar.position()));
    }

    pub fn say(&self, text: String) {
        self.bar.set_message(text);
    }
}

/// Clears the progress from the screen.
impl Drop for ScanProgress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The approximate number of messages in a queue, including invisible messages.
pub async fn depth(sqs: &aws_sdk_sqs::Client, queue_url: &str) -> Result<i64> {
    let answer = sqs
        .get_queue_attributes()
        .queue_url(queue_url)
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessages)
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesDelayed)
        .send()
        .await
        .map_err(|error| aws_failure("read the number of messages in a queue", &error))?;
    answer
        .attributes
        .unwrap_or_default()
        .values()
        .map(|value| value.parse::<i64>())
        .sum::<std::result::Result<i64, _>>()
        .map_err(|error| {
            Error::new(Kind::Contract, "the number of messages in a queue is not a number").with_source(error)
        })
}
