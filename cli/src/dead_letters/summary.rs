//! One line per dead letter, without its payload, so that a queue of any size fits in memory.

use std::collections::{BTreeMap, HashMap};

use millrace::dead_letter::{DeadLetterKind, Origin, Reason};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::entry::Entry;
use crate::terminal::table::TableColumn;
use crate::terminal::{TableExtent, Terminal, age, counted, figure};

/// Longer messages are cut; `show` prints them completely.
const MESSAGE_CHARACTERS: usize = 500;
/// The first characters of an id that `list` shows, and `show` accepts. More where these are not unique.
const ID_CHARACTERS: usize = 8;

/// One dead letter with all its copies.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLetterLine {
    pub id: Uuid,
    /// `None` for a message that is not a dead letter.
    pub kind: Option<DeadLetterKind>,
    pub source: Option<String>,
    pub event_type: Option<String>,
    pub reason: Option<Reason>,
    pub origin: Option<Origin>,
    pub attempts: u32,
    pub first_failed_at: String,
    /// The number of messages in the queue.
    pub copies: u64,
}

/// Dead letters of one kind and reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Total {
    pub kind: String,
    pub code: String,
    pub dead_letters: u64,
}

/// The output of `--json`.
#[derive(Debug, Serialize)]
pub struct Page<'a> {
    pub dead_letters: &'a [&'a DeadLetterLine],
    pub page: u32,
    pub pages: u32,
    /// The number of matching dead letters on all pages.
    pub matching: usize,
    /// The number of matching messages, including copies.
    pub messages: u64,
    /// False if the queue has more messages than a scan can receive.
    pub complete: bool,
    pub totals: Vec<Total>,
}

#[derive(Debug, Default)]
pub struct DeadLetterSummary {
    lines: HashMap<Uuid, DeadLetterLine>,
}

impl DeadLetterSummary {
    pub fn add(&mut self, entry: &Entry) {
        let dead_letter = entry.dead_letter.as_ref();
        let line = self.lines.entry(entry.id).or_insert_with(|| DeadLetterLine {
            id: entry.id,
            kind: dead_letter.map(|dead_letter| dead_letter.kind),
            source: dead_letter.and_then(|dead_letter| dead_letter.source.clone()),
            event_type: dead_letter.and_then(|dead_letter| dead_letter.event_type.clone()),
            reason: dead_letter.map(|dead_letter| shortened(&dead_letter.reason)),
            origin: dead_letter.map(|dead_letter| dead_letter.origin.clone()),
            attempts: dead_letter.map_or(1, |dead_letter| dead_letter.attempts),
            first_failed_at: dead_letter.map_or_else(
                || OffsetDateTime::from(entry.sent_at).format(&Rfc3339).unwrap_or_default(),
                |dead_letter| dead_letter.first_failed_at.clone(),
            ),
            copies: 0,
        });
        line.copies += 1;
        // Of several copies, the one that failed last has the current reason.
        if let Some(dead_letter) = dead_letter.filter(|dead_letter| dead_letter.attempts > line.attempts) {
            line.attempts = dead_letter.attempts;
            line.reason = Some(shortened(&dead_letter.reason));
        }
    }

    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Including copies.
    pub fn messages(&self) -> u64 {
        self.lines.values().map(|line| line.copies).sum()
    }

    /// Newest first.
    pub fn lines(&self) -> Vec<&DeadLetterLine> {
        let mut lines: Vec<&DeadLetterLine> = self.lines.values().collect();
        // Compare the times and not their text.
        lines.sort_by_cached_key(|line| {
            let at = OffsetDateTime::parse(&line.first_failed_at, &Rfc3339).ok();
            (std::cmp::Reverse(at), line.id)
        });
        lines
    }

    /// Most dead letters first.
    pub fn totals(&self) -> Vec<Total> {
        let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
        for line in self.lines.values() {
            *counts.entry((kind(line), code(line))).or_default() += 1;
        }
        let mut totals: Vec<Total> = counts
            .into_iter()
            .map(|((kind, code), dead_letters)| Total { kind, code, dead_letters })
            .collect();
        totals.sort_by_key(|total| std::cmp::Reverse(total.dead_letters));
        totals
    }

    pub fn print_totals(&self, terminal: &mut Terminal) {
        const COLUMNS: [TableColumn; 3] =
            [TableColumn::word("kind"), TableColumn::text("reason", 20), TableColumn::number("dead letters")];
        let rows: Vec<Vec<String>> = self
            .totals()
            .into_iter()
            .map(|total| vec![total.kind, total.code, figure(total.dead_letters)])
            .collect();
        terminal.table(&COLUMNS, &rows, TableExtent::Terminal);
    }

    /// One line for each of `lines`. Returns whether something is not shown.
    pub fn print_lines(
        &self,
        lines: &[&DeadLetterLine],
        extent: TableExtent,
        terminal: &mut Terminal,
    ) -> bool {
        const COLUMNS: [TableColumn; 11] = [
            TableColumn::word("id"),
            TableColumn::number("age"),
            TableColumn::text("source", 12),
            TableColumn::text("reason", 16),
            TableColumn::text("message", 28),
            TableColumn::word("kind").optional(),
            TableColumn::word("model").optional(),
            TableColumn::number("tries").optional(),
            TableColumn::number("copies").optional(),
            TableColumn::word("from").optional(),
            TableColumn::word("first failed").optional(),
        ];
        let now = OffsetDateTime::now_utc();
        let id_characters = match extent {
            TableExtent::Terminal => self.unique_id_characters(),
            TableExtent::Whole => usize::MAX,
        };
        let rows: Vec<Vec<String>> = lines
            .iter()
            .map(|line| {
                let reason = line.reason.as_ref();
                vec![
                    line.id.to_string().chars().take(id_characters).collect(),
                    line.age(now),
                    source(line),
                    code(line),
                    reason.map_or_else(String::new, |reason| reason.message.clone()),
                    kind(line),
                    reason.and_then(|reason| reason.model.clone()).unwrap_or_default(),
                    line.attempts.to_string(),
                    figure(line.copies),
                    line.origin.as_ref().map_or_else(|| "-".to_owned(), place),
                    moment(&line.first_failed_at),
                ]
            })
            .collect();
        terminal.table(&COLUMNS, &rows, extent)
    }

    /// How many characters of an id are enough to tell it from every other id here.
    fn unique_id_characters(&self) -> usize {
        let mut ids: Vec<String> = self.lines.keys().map(Uuid::to_string).collect();
        ids.sort_unstable();
        let shared = |pair: &[String]| {
            pair[0].bytes().zip(pair[1].bytes()).take_while(|(one, other)| one == other).count()
        };
        ids.windows(2).map(|pair| shared(pair) + 1).fold(ID_CHARACTERS, usize::max)
    }
}

impl DeadLetterLine {
    /// The time since the first failure: `5 min`.
    fn age(&self, now: OffsetDateTime) -> String {
        OffsetDateTime::parse(&self.first_failed_at, &Rfc3339)
            .map_or_else(|_| "-".to_owned(), |at| age((now - at).as_seconds_f64().max(0.0)))
    }
}

/// `12 dead_letters`, `12 dead_letters in 14 messages`
pub fn counted_dead_letters(dead_letters: usize, messages: u64) -> String {
    let text = counted(dead_letters as u64, "dead letter", "dead letters");
    if dead_letters as u64 == messages { text } else { format!("{text} in {} messages", figure(messages)) }
}

fn shortened(reason: &Reason) -> Reason {
    let mut reason = reason.clone();
    if let Some((end, _)) = reason.message.char_indices().nth(MESSAGE_CHARACTERS) {
        reason.message.truncate(end);
        reason.message.push('…');
    }
    reason
}

fn kind(line: &DeadLetterLine) -> String {
    line.kind.map_or("unreadable", DeadLetterKind::name).to_owned()
}

fn code(line: &DeadLetterLine) -> String {
    line.reason.as_ref().map_or_else(|| "-".to_owned(), |reason| reason.code.clone())
}

fn source(line: &DeadLetterLine) -> String {
    match (&line.source, &line.event_type) {
        (Some(source), Some(event_type)) => format!("{source}/{event_type}"),
        (Some(source), None) => source.clone(),
        _ => "-".to_owned(),
    }
}

/// A short form of the origin: `orders.csv:17`, the id of the delivery or the event.
fn place(origin: &Origin) -> String {
    let file = || {
        let key = origin.key.as_deref()?;
        let name = key.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(key);
        Some(origin.line.map_or_else(|| name.to_owned(), |line| format!("{name}:{line}")))
    };
    let delivery = || {
        let id = origin.delivery_id.as_deref()?;
        Some(origin.record.map_or_else(|| id.to_owned(), |record| format!("{id}#{record}")))
    };
    let event = || origin.event_id.map(|id| format!("event {id}"));
    event().or_else(delivery).or_else(file).or_else(|| origin.message_id.clone()).unwrap_or("-".to_owned())
}

/// `2026-01-02 03:04:05`
fn moment(text: &str) -> String {
    text.get(..19).map_or_else(|| text.to_owned(), |text| text.replace('T', " "))
}

#[cfg(test)]
mod tests {
    use millrace::config::Sources;
    use std::time::SystemTime;

    use millrace::dead_letter::{DeadLetter, Payload, ReceivedMessage};

    use millrace::Code;

    use super::*;

    fn dead_letter(name: &str, code: Code, first_failed_at: &str) -> DeadLetter {
        let mut dead_letter = DeadLetter::new(
            DeadLetterKind::Rows,
            name,
            Some("shop"),
            Some("orders"),
            Reason::new(code, "why"),
            Origin::default(),
            Payload::raw(b"a"),
        );
        dead_letter.first_failed_at = first_failed_at.to_owned();
        dead_letter
    }

    fn entry(dead_letter: &DeadLetter) -> Entry {
        Entry::of_message(
            ReceivedMessage {
                id: Uuid::now_v7().to_string(),
                receipt: String::new(),
                body: dead_letter.to_body(),
                sent_at: SystemTime::now(),
                receive_count: 1,
            },
            &Sources::default(),
        )
    }

    #[test]
    fn lines_are_newest_first_by_the_moment_and_copies_are_one() {
        let mut summary = DeadLetterSummary::default();
        let old = dead_letter("a", Code::WrongType, "2026-01-01T00:00:00Z");
        let middle = dead_letter("b", Code::WrongType, "2026-01-02T01:30:00+02:00");
        let new = dead_letter("c", Code::FieldTooLong, "2026-01-02T00:00:00Z");
        for dead_letter in [&old, &new, &middle, &old, &old] {
            summary.add(&entry(dead_letter));
        }
        let lines: Vec<(Uuid, u64)> = summary.lines().iter().map(|line| (line.id, line.copies)).collect();
        assert_eq!(lines, [(new.id, 1), (middle.id, 1), (old.id, 3)]);
        assert_eq!((summary.len(), summary.messages()), (3, 5));
        let totals: Vec<(String, u64)> =
            summary.totals().into_iter().map(|total| (total.code, total.dead_letters)).collect();
        assert_eq!(totals, [("wrong_type".to_owned(), 2), ("field_too_long".to_owned(), 1)]);
    }

    #[test]
    fn the_copy_that_failed_last_says_why() {
        for turned in [false, true] {
            let first = dead_letter("a", Code::WrongType, "2026-01-01T00:00:00Z");
            let again =
                DeadLetter { attempts: 2, reason: Reason::new(Code::FieldTooLong, "why"), ..first.clone() };
            let mut copies = [first, again];
            if turned {
                copies.reverse();
            }
            let mut summary = DeadLetterSummary::default();
            copies.iter().for_each(|dead_letter| summary.add(&entry(dead_letter)));
            let lines = summary.lines();
            assert_eq!((lines[0].attempts, code(lines[0]).as_str()), (2, "field_too_long"));
        }
    }

    #[test]
    fn a_short_id_is_unique_among_all_dead_letters() {
        let mut summary = DeadLetterSummary::default();
        let mut add = |id: &str| {
            let mut other = dead_letter("a", Code::WrongType, "2026-01-01T00:00:00Z");
            other.id = Uuid::parse_str(id).unwrap();
            summary.add(&entry(&other));
            summary.unique_id_characters()
        };
        assert_eq!(add("3f0c8a56-6a8e-5b7c-9f0e-1d2c3b4a5968"), 8);
        assert_eq!(add("3f0c8a57-6a8e-5b7c-9f0e-1d2c3b4a5968"), 8);
        assert_eq!(add("3f0c8a56-6a9e-5b7c-9f0e-1d2c3b4a5968"), "3f0c8a56-6a9".len());
    }

    #[test]
    fn no_line_is_longer_than_a_line() {
        let mut long = dead_letter("a", Code::WrongType, "2026-01-01T00:00:00Z");
        long.reason.message = "ä".repeat(10_000);
        let mut summary = DeadLetterSummary::default();
        summary.add(&entry(&long));
        let message = &summary.lines()[0].reason.as_ref().unwrap().message;
        assert_eq!(message.chars().count(), MESSAGE_CHARACTERS + 1);
    }

    #[test]
    fn a_place_is_what_one_would_look_for() {
        let key = Some("incoming/shop/orders/a.csv".to_owned());
        for (origin, text) in [
            (Origin { key: key.clone(), line: Some(17), ..Origin::default() }, "a.csv:17"),
            (Origin { key: key.clone(), ..Origin::default() }, "a.csv"),
            (Origin { key, event_id: Some(7), ..Origin::default() }, "event 7"),
            (Origin { delivery_id: Some("d1".to_owned()), record: Some(2), ..Origin::default() }, "d1#2"),
            (Origin { message_id: Some("m1".to_owned()), ..Origin::default() }, "m1"),
            (Origin::default(), "-"),
        ] {
            assert_eq!(place(&origin), text);
        }
    }
}
