//! The dead letters whose ids begin with given characters.

use std::collections::BTreeMap;

use millrace::dead_letter::Filter;
use millrace::{Code, Error, Kind, Result};
use time::OffsetDateTime;
use uuid::Uuid;

use super::context::DeadLetterContext;
use crate::arguments::dead_letters::{DeadLetterFilter, IdPrefix};
use crate::dead_letters::entry::Entry;
use crate::dead_letters::{ScanProgress, each};

/// More ids are not listed in an error.
const LISTED: usize = 10;

/// Every id with one prefix, each with a description of its dead letter.
#[derive(Debug, Default)]
pub(super) struct Matches {
    ids: BTreeMap<Uuid, String>,
}

impl Matches {
    pub fn add(&mut self, entry: &Entry) {
        self.ids.entry(entry.id).or_insert_with(|| describe(entry));
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// The only id; `None` when there is none.
    ///
    /// # Errors
    /// When there are several, with a list of them.
    pub fn only(&self, prefix: &IdPrefix) -> Result<Option<Uuid>> {
        if self.ids.len() <= 1 {
            return Ok(self.ids.keys().next().copied());
        }
        let mut message =
            format!("`{prefix}` is the beginning of {} ids; give more characters:", self.ids.len());
        for (id, description) in self.ids.iter().take(LISTED) {
            message.push_str(&format!("\n  {id}  {description}"));
        }
        if self.ids.len() > LISTED {
            message.push_str(&format!("\n  and {} more", self.ids.len() - LISTED));
        }
        Err(Error::new(Kind::Config, message).with_code(Code::IdAmbiguous))
    }
}

/// The filter of a command, with whole ids.
pub(super) async fn filter(
    arguments: &DeadLetterFilter,
    archived: bool,
    context: &DeadLetterContext<'_>,
) -> Result<Filter> {
    let now = OffsetDateTime::now_utc();
    Ok(arguments.to_filter(now, resolve(&arguments.ids, archived, context).await?))
}

/// The whole ids that `prefixes` stand for. Reads the queue or the archive only if one of them is not a whole id.
///
/// # Errors
/// When a prefix is the beginning of several ids, or of none.
async fn resolve(
    prefixes: &[IdPrefix],
    archived: bool,
    context: &DeadLetterContext<'_>,
) -> Result<Vec<Uuid>> {
    if let Some(ids) = prefixes.iter().map(IdPrefix::whole).collect() {
        return Ok(ids);
    }
    let mut matches: Vec<Matches> = prefixes.iter().map(|_| Matches::default()).collect();
    let mut see = |entry: &Entry| {
        for (prefix, matches) in prefixes.iter().zip(&mut matches) {
            if prefix.begins(entry.id) {
                matches.add(entry);
            }
        }
    };
    if archived {
        let progress = ScanProgress::new("reading the archive");
        let archive = context.archive();
        archive
            .each(&progress, async |archived| {
                see(&archived.entry);
                Ok(())
            })
            .await?;
    } else {
        let progress = ScanProgress::new("reading the dead-letter queue");
        each(&context.reader, &progress, |entry| {
            see(&entry);
            Ok(true)
        })
        .await?;
    }
    let id = |(prefix, matches): (&IdPrefix, &Matches)| match (prefix.whole(), matches.only(prefix)?) {
        (Some(id), _) | (None, Some(id)) => Ok(id),
        (None, None) => {
            let message = format!("no dead letter has an id that begins with `{prefix}`");
            Err(Error::new(Kind::Config, message).with_code(Code::IdUnknown))
        }
    };
    prefixes.iter().zip(&matches).map(id).collect()
}

fn describe(entry: &Entry) -> String {
    let Some(dead_letter) = &entry.dead_letter else { return "unreadable".to_owned() };
    let place = match (&dead_letter.source, &dead_letter.event_type) {
        (Some(source), Some(event_type)) => format!("{source}/{event_type}"),
        (source, _) => source.clone().unwrap_or_default(),
    };
    let words = [dead_letter.kind.name(), &place, &dead_letter.reason.code];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}
