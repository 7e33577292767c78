//! The dead-letter queue as an operator sees it.
//!
//! - [`each`]: everything in the queue, once; [`archive`]: what was moved to the bucket.
//! - [`entry`]: one message, read; [`summary`]: many, in a line each; [`advice`]: what to do about one.

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

/// Hands everything in the queue to `see`, each message once; it stays in the queue. False when there is more than can be
/// looked at. `see` answers whether to go on.
pub async fn each(
    reader: &DeadLetterReader,
    progress: &Progress,
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

/// How far a look has come, on the standard error of a person.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// `doing` is what is being done: "reading the queue".
    pub fn new(doing: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{spinner} {prefix}: {msg} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_prefix(doing.to_owned());
        Progress { bar }
    }

    /// Shown to nobody.
    pub fn hidden() -> Self {
        Progress { bar: ProgressBar::hidden() }
    }

    pub fn add(&self, messages: usize) {
        self.bar.inc(messages as u64);
        self.bar.set_message(figure(self.bar.position()));
    }

    pub fn say(&self, text: String) {
        self.bar.set_message(text);
    }
}

/// Nothing of it is left on the screen.
impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Messages in a queue, those being worked on included. SQS calls it approximate.
pub async fn depth(sqs: &aws_sdk_sqs::Client, queue_url: &str) -> Result<i64> {
    let answer = sqs
        .get_queue_attributes()
        .queue_url(queue_url)
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessages)
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesDelayed)
        .send()
        .await
        .map_err(|error| aws_failure("ask for the depth of a queue", &error))?;
    answer
        .attributes
        .unwrap_or_default()
        .values()
        .map(|value| value.parse::<i64>())
        .sum::<std::result::Result<i64, _>>()
        .map_err(|error| Error::new(Kind::Contract, "the depth of a queue is no number").with_source(error))
}
