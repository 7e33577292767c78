//! The arguments of `millrace dead-letters`.

use std::fmt::{Display, Formatter};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use millrace::dead_letter::{DeadLetterKind, Filter};
use time::OffsetDateTime;
use uuid::Uuid;

const KINDS: [DeadLetterKind; 4] =
    [DeadLetterKind::Upload, DeadLetterKind::Rows, DeadLetterKind::Delivery, DeadLetterKind::Event];

#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub struct DeadLetters {
    #[command(subcommand)]
    pub command: DeadLettersCommand,
}

#[derive(Debug, Subcommand)]
pub enum DeadLettersCommand {
    /// List dead letters, newest first, with totals by kind and reason
    ///
    /// A dead letter that is in the queue several times is one line. While the command reads the queue, its dead letters are
    /// hidden from other readers.
    #[command(after_help = "\
Examples:
    millrace dead-letters list --kind rows --source shop/orders
    millrace dead-letters list --newer-than 1h --limit 200
    millrace dead-letters list --json | jq '.totals'
    millrace dead-letters list --archived")]
    List(ListDeadLetters),

    /// Show one dead letter with its payload, and what to do about it
    ///
    /// Exits with 1 if no dead letter has this id.
    #[command(after_help = "\
Examples:
    millrace dead-letters show 3f0c8a56
    millrace dead-letters show 3f0c8a56-6a8e-5b7c-9f0e-1d2c3b4a5968")]
    Show(ShowDeadLetter),

    /// Write dead letters with their payloads as JSON lines
    ///
    /// Each line is a dead letter as docs/dead-letter.schema.json describes it. The dead letters stay in the queue.
    ///
    /// Exits with 1 if the payload of a dead letter is no longer in the bucket.
    #[command(after_help = "\
Examples:
    millrace dead-letters export --kind rows --output rejected.jsonl
    millrace dead-letters export --source shop | jq -r '.payload'")]
    Export(ExportDeadLetters),

    /// Delete dead letters
    ///
    /// Lists the dead letters and asks before it deletes them. Dead letters that arrive later are not deleted. Without a
    /// filter, --all is required.
    #[command(after_help = "\
Examples:
    millrace dead-letters drop --code object_replaced --older-than 2d
    millrace dead-letters drop --id 3f0c8a56-6a8e-5b7c-9f0e-1d2c3b4a5968 --yes")]
    Drop(DropDeadLetters),

    /// Send dead letters back to the functions that sent them
    ///
    /// Invokes the function $MILLRACE_REDRIVE_FUNCTION until no dead letter is left to redrive. Data that is already in the
    /// database is not stored again. A dead letter that fails again stays in the queue with the new reason. Dead letters
    /// that arrive later are not redriven. Without a filter, --all is required.
    ///
    /// Exits with 1 if a dead letter failed again.
    #[command(after_help = "\
Examples:
    millrace dead-letters redrive --kind event --model orders
    millrace dead-letters redrive --kind delivery --rate 50
    millrace dead-letters redrive --all --at-most 1000")]
    Redrive(RedriveDeadLetters),

    /// Send archived dead letters to the queue again
    ///
    /// Dead letters are moved to the bucket before SQS deletes them. A restored dead letter stays in the queue for another
    /// 14 days.
    #[command(after_help = "\
Examples:
    millrace dead-letters restore --source shop/orders")]
    Restore(RestoreDeadLetters),
}

/// Every filter that is given must match. This is the last field of a command, because clap lists the fields after it
/// under its heading too.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Filters, all of which must match")]
pub struct DeadLetterFilter {
    /// What the dead letter contains
    #[arg(long, value_parser = kind())]
    pub kind: Option<DeadLetterKind>,
    /// Source, or source and event type: shop, shop/orders
    #[arg(long, value_name = "SOURCE[/EVENT_TYPE]", value_parser = source)]
    pub source: Option<SourceFilter>,
    /// Code of the reason: wrong_type, refused_by_model, …
    #[arg(long)]
    pub code: Option<String>,
    /// Model that refused the event
    #[arg(long)]
    pub model: Option<String>,
    /// Failed first before this time: 90s, 15m, 2h, 2d
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub older_than: Option<Duration>,
    /// Failed first within this time: 90s, 15m, 2h, 2d
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub newer_than: Option<Duration>,
    /// Id, or its unique first characters; repeat the option for several
    #[arg(long = "id", value_name = "ID")]
    pub ids: Vec<IdPrefix>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFilter {
    pub source: String,
    pub event_type: Option<String>,
}

/// The first characters of an id, or all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdPrefix {
    /// As it was given.
    text: String,
    /// Hexadecimal digits in lower case, without hyphens.
    digits: String,
}

impl IdPrefix {
    /// The id, if all of it was given.
    pub fn whole(&self) -> Option<Uuid> {
        if self.digits.len() == 32 { Uuid::parse_str(&self.digits).ok() } else { None }
    }

    pub fn begins(&self, id: Uuid) -> bool {
        id.simple().to_string().starts_with(&self.digits)
    }
}

impl FromStr for IdPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.replace('-', "").to_ascii_lowercase();
        if digits.is_empty() || digits.len() > 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("write an id, or its first characters: 3f0c8a56".to_owned());
        }
        Ok(IdPrefix { text: text.to_owned(), digits })
    }
}

impl Display for IdPrefix {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl DeadLetterFilter {
    /// Whether it selects every dead letter.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.to_filter(OffsetDateTime::UNIX_EPOCH, Vec::new()).is_empty()
    }

    /// `ids` are the whole ids of [`Self::ids`].
    pub fn to_filter(&self, now: OffsetDateTime, ids: Vec<Uuid>) -> Filter {
        let source = self.source.clone();
        let (source, event_type) = source.map_or((None, None), |it| (Some(it.source), it.event_type));
        Filter {
            ids: (!self.ids.is_empty()).then_some(ids),
            kind: self.kind,
            source,
            event_type,
            code: self.code.clone(),
            model: self.model.clone(),
            failed_before: self.older_than.map(|span| now - span),
            failed_since: self.newer_than.map(|span| now - span),
        }
    }
}

#[derive(Debug, Args)]
pub struct ListDeadLetters {
    /// Lines on a page
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Number of the page, from 1
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub page: u32,
    /// List the dead letters that were moved to the bucket
    #[arg(long)]
    pub archived: bool,
    /// Print a JSON object, for programs
    #[arg(long)]
    pub json: bool,
    /// Print every column and whole messages, whatever the width of the terminal
    #[arg(long, conflicts_with = "json")]
    pub wide: bool,
    #[command(flatten)]
    pub filter: DeadLetterFilter,
}

#[derive(Debug, Args)]
pub struct ShowDeadLetter {
    /// Id, or its unique first characters
    pub id: IdPrefix,
    /// Search the dead letters that were moved to the bucket
    #[arg(long)]
    pub archived: bool,
    /// Print a JSON object, for programs
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ExportDeadLetters {
    /// File to write, instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub filter: DeadLetterFilter,
}

#[derive(Debug, Args)]
pub struct DropDeadLetters {
    /// All dead letters, instead of a filter
    #[arg(long)]
    pub all: bool,
    /// Do not ask before deleting
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    pub filter: DeadLetterFilter,
}

#[derive(Debug, Args)]
pub struct RedriveDeadLetters {
    /// All dead letters, instead of a filter
    #[arg(long)]
    pub all: bool,
    /// Redrive at most this many dead letters
    #[arg(long, value_name = "DEAD_LETTERS", value_parser = clap::value_parser!(u64).range(1..))]
    pub at_most: Option<u64>,
    /// Redrive at most this many dead letters per second
    #[arg(long, value_name = "DEAD_LETTERS", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// Print a JSON object, for programs
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub filter: DeadLetterFilter,
}

#[derive(Debug, Args)]
pub struct RestoreDeadLetters {
    #[command(flatten)]
    pub filter: DeadLetterFilter,
}

fn kind() -> impl TypedValueParser<Value = DeadLetterKind> {
    PossibleValuesParser::new(KINDS.map(DeadLetterKind::name)).try_map(|name| {
        KINDS.into_iter().find(|kind| kind.name() == name).ok_or_else(|| format!("{name} is not a kind"))
    })
}

fn source(text: &str) -> Result<SourceFilter, String> {
    let (source, event_type) = match text.split_once('/') {
        Some((source, event_type)) => (source, Some(event_type)),
        None => (text, None),
    };
    if source.is_empty() || event_type.is_some_and(str::is_empty) {
        return Err("write shop or shop/orders".to_owned());
    }
    Ok(SourceFilter { source: source.to_owned(), event_type: event_type.map(str::to_owned) })
}

/// A time that may be days.
fn span(text: &str) -> Result<Duration, String> {
    let wrong = || "write 90s, 15m, 2h or 2d".to_owned();
    let (figure, seconds) = match text.char_indices().next_back() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3_600),
        Some((at, 'd')) => (&text[..at], 86_400),
        _ => return Err(wrong()),
    };
    let figure: u32 = figure.parse().map_err(|_| wrong())?;
    let span = Duration::from_secs(u64::from(figure) * seconds);
    // A moment before the year 0 is none.
    if span > Duration::from_secs(1_000 * 365 * 86_400) {
        Err("that is too long".to_owned())
    } else {
        Ok(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_and_may_be_days() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("2h", 7_200), ("2d", 172_800), ("0d", 0)] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "d", "2", "2w", "-1d", "1.5h", "4294967295d", "2ä"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_source_may_name_an_event_type() {
        let filter = |text| source(text).map(|it| (it.source, it.event_type));
        assert_eq!(filter("shop"), Ok(("shop".to_owned(), None)));
        assert_eq!(filter("shop/orders"), Ok(("shop".to_owned(), Some("orders".to_owned()))));
        for text in ["", "/orders", "shop/"] {
            assert!(filter(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_id_may_be_shortened() {
        let id = Uuid::parse_str("3f0c8a56-6a8e-5b7c-9f0e-1d2c3b4a5968").unwrap();
        for text in ["3", "3f0c8a56", "3F0C8A56-6a", "3f0c8a566a8e5b7c9f0e1d2c3b4a5968"] {
            assert!(text.parse::<IdPrefix>().unwrap().begins(id), "{text}");
        }
        assert!(!"3f1".parse::<IdPrefix>().unwrap().begins(id));
        assert_eq!(id.to_string().parse::<IdPrefix>().unwrap().whole(), Some(id));
        assert_eq!("3f0c8a56".parse::<IdPrefix>().unwrap().whole(), None);
        for text in ["", "-", "3g", "a.csv", "3f0c8a56-6a8e-5b7c-9f0e-1d2c3b4a59680"] {
            assert!(text.parse::<IdPrefix>().is_err(), "{text}");
        }
    }

    #[test]
    fn nothing_given_is_a_filter_that_matches_everything() {
        let none = DeadLetterFilter {
            kind: None,
            source: None,
            code: None,
            model: None,
            older_than: None,
            newer_than: None,
            ids: Vec::new(),
        };
        assert!(none.is_empty());
        let now = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        let some = DeadLetterFilter {
            older_than: Some(Duration::from_secs(60)),
            newer_than: Some(Duration::from_secs(3_600)),
            ..none
        };
        assert!(!some.is_empty());
        let filter = some.to_filter(now, Vec::new());
        assert_eq!(filter.failed_before.unwrap().unix_timestamp(), 1_700_000_000 - 60);
        assert_eq!(filter.failed_since.unwrap().unix_timestamp(), 1_700_000_000 - 3_600);
    }
}
