//! Letters from the queue to their doors, until none is left or time is up.
//!
//! A message is deleted only once its letter's fate is known and, when it failed again, the new letter is in the queue. So
//! a run that is killed leaves letters behind and loses none; what they hold is taken once, since every door knows its own.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use millrace::Result;
use millrace::dead_letter::door::Fate;
use millrace::dead_letter::scan::Scan;
use millrace::dead_letter::{DeadLetterQueue, Filter, Letter, LetterKind, Mailbox, Message, Read, Reason};
use time::OffsetDateTime;
use tracing::info;
use uuid::Uuid;

use crate::doors::Doors;
use crate::request::Summary;

/// Letters that go to their doors together.
const HAND: usize = 200;
const HAND_BYTES: usize = 8 << 20;
/// How long a poll of the queue waits for letters.
const WAIT: Duration = Duration::from_secs(1);
const KINDS: [LetterKind; 4] =
    [LetterKind::Upload, LetterKind::Rows, LetterKind::Delivery, LetterKind::Event];

pub struct Run<'r> {
    pub mailbox: Mailbox,
    pub dead_letters: &'r DeadLetterQueue,
    pub doors: &'r Doors,
    pub filter: &'r Filter,
    pub at_most: u64,
    /// Letters a second.
    pub rate: u32,
    pub sent_before: OffsetDateTime,
    /// No letters are taken after this.
    pub until: Instant,
}

/// A letter with the message that brought it.
struct Held {
    message: Message,
    letter: Letter,
}

impl Run<'_> {
    /// Takes back what matches. Whatever happens, every other letter is visible again when this returns.
    ///
    /// # Errors
    /// When the queue cannot be read or written. Letters that a door could not take are no error: they are counted.
    pub async fn run(&self) -> Result<Summary> {
        let mut scan = self.mailbox.scan(WAIT);
        let mut summary = Summary::default();
        let ended = self.take(&mut scan, &mut summary).await;
        let put_back = scan.finish().await;
        ended.and(put_back).map(|()| summary)
    }

    async fn take(&self, scan: &mut Scan, summary: &mut Summary) -> Result<()> {
        let mut hand: Vec<Held> = Vec::new();
        loop {
            if self.is_over(summary) {
                summary.more = true;
                return Ok(());
            }
            let messages = scan.next().await?;
            let is_last = messages.is_none();
            for message in messages.into_iter().flatten() {
                match message.read() {
                    Read::Letter(letter) if self.is_meant(&message, &letter) => {
                        hand.push(Held { message, letter });
                    }
                    _ => summary.left += 1,
                }
            }
            while !hand.is_empty() && (is_last || self.is_full(&hand, summary)) && !self.is_over(summary) {
                let rest = hand.split_off(self.most(summary).min(hand.len()));
                let taken = std::mem::replace(&mut hand, rest);
                self.put_back(scan, taken, summary).await?;
            }
            if is_last {
                summary.more = !hand.is_empty() || !scan.is_complete();
                return Ok(());
            }
        }
    }

    /// How many letters go to their doors together, and still may.
    fn most(&self, summary: &Summary) -> usize {
        let room = self.at_most.saturating_sub(summary.tried());
        HAND.min(self.rate as usize).min(usize::try_from(room).unwrap_or(usize::MAX))
    }

    fn is_over(&self, summary: &Summary) -> bool {
        self.most(summary) == 0 || Instant::now() >= self.until
    }

    fn is_full(&self, hand: &[Held], summary: &Summary) -> bool {
        let bytes: usize = hand.iter().map(|held| held.message.body.len()).sum();
        hand.len() >= self.most(summary) || bytes >= HAND_BYTES
    }

    fn is_meant(&self, message: &Message, letter: &Letter) -> bool {
        OffsetDateTime::from(message.sent_at) < self.sent_before && self.filter.matches(letter)
    }

    /// One hand: through its doors, then out of the queue.
    async fn put_back(&self, scan: &Scan, hand: Vec<Held>, summary: &mut Summary) -> Result<()> {
        let started = Instant::now();
        // A letter may be there twice: it goes once, and its fate is that of both.
        let mut letters: HashMap<Uuid, &Letter> = HashMap::new();
        for held in &hand {
            let known = letters.entry(held.letter.id).or_insert(&held.letter);
            if held.letter.attempts > known.attempts {
                *known = &held.letter;
            }
        }
        let of_kind = KINDS.map(|kind| {
            let of_kind: Vec<Letter> = letters
                .values()
                .filter(|letter| letter.kind == kind)
                .map(|letter| (*letter).clone())
                .collect();
            async move {
                let fates = self.doors.put_back(kind, &of_kind).await;
                of_kind.into_iter().map(|letter| letter.id).zip(fates).collect::<Vec<_>>()
            }
        });
        let fates: HashMap<Uuid, Fate> = join_all(of_kind).await.into_iter().flatten().collect();
        // Before their messages go: a crash in between repeats a letter.
        let again: Vec<Letter> = letters
            .values()
            .filter_map(|letter| match fates.get(&letter.id)? {
                Fate::Failed { reason } => Some(letter.failed_again(reason.clone())),
                _ => None,
            })
            .collect();
        self.dead_letters.send(&again).await?;
        let known =
            |held: &&Held| fates.get(&held.letter.id).is_some_and(|fate| !matches!(fate, Fate::Waits { .. }));
        let done: Vec<&Message> = hand.iter().filter(known).map(|held| &held.message).collect();
        scan.delete(&done).await?;
        let settled = hand.iter().filter(|held| fates.get(&held.letter.id).is_some_and(Fate::is_settled));
        for held in settled {
            self.mailbox.forget(&held.letter).await?;
        }
        for held in &hand {
            count(summary, fates.get(&held.letter.id));
        }
        info!(
            letter_count = hand.len(),
            duration_ms = started.elapsed().as_millis() as u64,
            "letters put back"
        );
        let due = Duration::from_secs_f64(hand.len() as f64 / f64::from(self.rate.max(1)));
        tokio::time::sleep(due.saturating_sub(started.elapsed())).await;
        Ok(())
    }
}

fn count(summary: &mut Summary, fate: Option<&Fate>) {
    match fate {
        Some(Fate::Redriven) => summary.redriven += 1,
        Some(Fate::Duplicate) => summary.duplicate += 1,
        Some(Fate::Void { .. }) => summary.void += 1,
        Some(Fate::Failed { reason }) => {
            summary.failed += 1;
            summary.add_reason(reason);
        }
        Some(Fate::Waits { why }) => {
            summary.waiting += 1;
            summary.add_reason(&Reason::new("waits", why));
        }
        None => summary.waiting += 1,
    }
}
