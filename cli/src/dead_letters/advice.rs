//! What to do about a dead letter. Reads the tables of docs/dead-letters.md, so that the program and the documentation agree.

use millrace::dead_letter::{DeadLetterKind, Reason};

const DOCUMENTATION: &str = include_str!("../../../docs/dead-letters.md");

/// A row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    pub kind: &'static str,
    pub code: &'static str,
    pub meaning: &'static str,
    pub what_to_do: &'static str,
}

/// The row of a kind and reason; `None` for a code that is not documented.
pub fn find(kind: DeadLetterKind, reason: &Reason) -> Option<Advice> {
    all().find(|advice| advice.kind == kind.name() && advice.code == reason.code)
}

/// Every row, in order.
pub fn all() -> impl Iterator<Item = Advice> {
    let mut kind = "";
    DOCUMENTATION.lines().filter_map(move |line| {
        if let Some(heading) = line.strip_prefix('#') {
            // "### `rows`: a record of a file"
            kind = heading.split('`').nth(1).unwrap_or_default();
            return None;
        }
        let mut cells = line.strip_prefix("| `")?.strip_suffix(" |")?.splitn(3, " | ");
        let (code, meaning, what_to_do) = (cells.next()?.strip_suffix('`')?, cells.next()?, cells.next()?);
        (!kind.is_empty()).then_some(Advice { kind, code, meaning, what_to_do })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use millrace::Code;

    use super::*;

    #[test]
    fn a_known_reason_has_advice_and_an_unknown_one_has_none() {
        let advice = find(DeadLetterKind::Rows, &Reason::new(Code::WrongType, "why")).unwrap();
        assert!(advice.meaning.contains("`columns`"), "{advice:?}");
        assert!(advice.what_to_do.contains("redrive"), "{advice:?}");
        assert_eq!(find(DeadLetterKind::Event, &Reason::new(Code::WrongType, "why")), None);
    }

    #[test]
    fn every_kind_is_there_and_nothing_is_there_twice() {
        let kinds: BTreeSet<&str> = all().map(|advice| advice.kind).collect();
        assert_eq!(kinds, BTreeSet::from(["upload", "rows", "delivery", "event"]));
        let unique: BTreeSet<(&str, &str)> = all().map(|advice| (advice.kind, advice.code)).collect();
        assert_eq!(unique.len(), all().count());
        assert!(all().all(|advice| !advice.meaning.is_empty() && !advice.what_to_do.is_empty()));
    }
}
