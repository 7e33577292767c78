//! One parsed message of the dead-letter queue, or one parsed object of its archive.

use std::time::SystemTime;

use millrace::config::Sources;
use millrace::dead_letter::{DeadLetter, Filter, ParsedMessage, ReceivedMessage};
use uuid::Uuid;

/// A message.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The id of the dead letter; the message id of another message.
    pub id: Uuid,
    pub message_id: String,
    /// `None` for a message that is neither a dead letter nor a known record of AWS.
    pub dead_letter: Option<DeadLetter>,
    /// The unchanged body.
    pub body: String,
    pub sent_at: SystemTime,
}

impl Entry {
    pub fn of_message(message: ReceivedMessage, sources: &Sources) -> Self {
        let dead_letter = match message.read(sources) {
            ParsedMessage::DeadLetter(dead_letter) => Some(dead_letter),
            ParsedMessage::Unreadable => None,
        };
        let own = || {
            Uuid::parse_str(&message.id)
                .unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_OID, message.id.as_bytes()))
        };
        Entry {
            id: dead_letter.as_ref().map_or_else(own, |dead_letter| dead_letter.id),
            dead_letter,
            message_id: message.id,
            body: message.body,
            sent_at: message.sent_at,
        }
    }

    /// Only a filter by id can match a message that is not a dead letter.
    pub fn is_meant(&self, filter: &Filter) -> bool {
        match &self.dead_letter {
            Some(dead_letter) => filter.matches(dead_letter),
            None => {
                let by_id = Filter { ids: filter.ids.clone(), ..Filter::default() };
                *filter == by_id && filter.ids.as_ref().is_none_or(|ids| ids.contains(&self.id))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use millrace::dead_letter::{DeadLetterKind, Origin, Payload, Reason};

    use millrace::Code;

    use super::*;

    const MESSAGE: &str = "0a5d8a6c-1c7b-4f0e-9f43-0d4f5d7c2b11";

    fn entry(body: String) -> Entry {
        Entry::of_message(
            ReceivedMessage {
                id: MESSAGE.to_owned(),
                receipt: String::new(),
                body,
                sent_at: SystemTime::now(),
                receive_count: 1,
            },
            &Sources::default(),
        )
    }

    #[test]
    fn a_dead_letter_goes_by_its_own_id_and_anything_else_by_that_of_its_message() {
        let dead_letter = DeadLetter::new(
            DeadLetterKind::Rows,
            "s3://b/k@1",
            Some("shop"),
            None,
            Reason::new(Code::WrongType, "no number"),
            Origin::default(),
            Payload::raw(b"a"),
        );
        assert_eq!(entry(dead_letter.to_body()).id, dead_letter.id);
        assert_eq!(entry("rubbish".to_owned()).id.to_string(), MESSAGE);
    }

    #[test]
    fn what_is_no_dead_letter_is_meant_by_its_id_or_by_everything() {
        let entry = entry("rubbish".to_owned());
        let by_id = |id| Filter { ids: Some(vec![id]), ..Filter::default() };
        assert!(entry.is_meant(&Filter::default()));
        assert!(entry.is_meant(&by_id(entry.id)));
        assert!(!entry.is_meant(&by_id(Uuid::nil())));
        let source = Some("shop".to_owned());
        assert!(!entry.is_meant(&Filter { source: source.clone(), ..Filter::default() }));
        assert!(!entry.is_meant(&Filter { source, ..by_id(entry.id) }));
    }
}
