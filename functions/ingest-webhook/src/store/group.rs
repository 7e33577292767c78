//! Selects the deliveries of a flush.

use std::collections::{HashSet, VecDeque};

use super::Delivery;

/// The limits of one flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlushBounds {
    /// Maximum number of events. A delivery with more is a flush of its own.
    pub events: usize,
    /// Maximum bytes of payload. A larger delivery is a flush of its own.
    pub bytes: usize,
}

impl Default for FlushBounds {
    /// 1,000 events or 8 MiB: a larger flush does not make a commit cheaper, and memory stays small.
    fn default() -> Self {
        FlushBounds { events: 1_000, bytes: 8 << 20 }
    }
}

/// Takes the next flush from the waiting deliveries, in the order of their arrival.
///
/// Of deliveries that share a key only the first is taken. The second waits for the next flush, when the outcome of the
/// first is in the database.
pub fn next<T>(waiting: &mut VecDeque<T>, bounds: FlushBounds, delivery: impl Fn(&T) -> &Delivery) -> Vec<T> {
    let mut taken: Vec<T> = Vec::new();
    let mut left = VecDeque::new();
    let mut keys: HashSet<(String, String)> = HashSet::new();
    let (mut events, mut bytes) = (0, 0);
    while let Some(item) = waiting.pop_front() {
        let offered = delivery(&item);
        let (more_events, more_bytes) = (events + offered.events.len(), bytes + offered.byte_count());
        let fits = taken.is_empty() || (more_events <= bounds.events && more_bytes <= bounds.bytes);
        if !fits {
            waiting.push_front(item);
            break;
        }
        let of_this: Vec<(String, String)> =
            offered.dedupe_keys.iter().map(|key| (offered.source.clone(), key.clone())).collect();
        if of_this.iter().any(|key| keys.contains(key)) {
            left.push_back(item);
            continue;
        }
        keys.extend(of_this);
        (events, bytes) = (more_events, more_bytes);
        taken.push(item);
    }
    // Skipped deliveries arrived before the ones that were not examined.
    while let Some(item) = left.pop_back() {
        waiting.push_front(item);
    }
    taken
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::delivery::DeliveryEvent;
    use super::*;

    fn delivery(keys: &[u8], events: usize, bytes: usize) -> Delivery {
        let event = DeliveryEvent {
            number: 0,
            event_type: "e".to_owned(),
            payload: Some("x".repeat(bytes)),
            repair: None,
        };
        Delivery {
            source: "s".to_owned(),
            dedupe_keys: keys.iter().map(u8::to_string).collect(),
            remembered_days: 4,
            events: vec![event; events],
        }
    }

    #[test]
    fn a_second_delivery_with_a_key_of_the_first_waits() {
        let mut waiting =
            VecDeque::from([delivery(&[1], 1, 1), delivery(&[2, 1], 1, 1), delivery(&[3], 1, 1)]);
        let first = next(&mut waiting, FlushBounds::default(), |delivery| delivery);
        assert_eq!(first.iter().map(|taken| taken.dedupe_keys[0].as_str()).collect::<Vec<_>>(), ["1", "3"]);
        let second = next(&mut waiting, FlushBounds::default(), |delivery| delivery);
        assert_eq!(second.len(), 1);
        assert!(waiting.is_empty());
    }

    proptest! {
        #[test]
        fn a_flush_keeps_its_bounds_and_loses_nothing(
            offered in prop::collection::vec((prop::collection::vec(0_u8..20, 1..3), 1_usize..6, 0_usize..300), 0..40),
            events in 1_usize..12,
            bytes in 1_usize..2_000,
        ) {
            let bounds = FlushBounds { events, bytes };
            let mut waiting: VecDeque<Delivery> =
                offered.iter().map(|(keys, events, bytes)| delivery(keys, *events, *bytes)).collect();
            let mut taken = 0;
            while !waiting.is_empty() {
                let flush = next(&mut waiting, bounds, |delivery| delivery);
                prop_assert!(!flush.is_empty());
                taken += flush.len();
                let total: usize = flush.iter().map(|delivery| delivery.events.len()).sum();
                let weight: usize = flush.iter().map(Delivery::byte_count).sum();
                prop_assert!(flush.len() == 1 || (total <= events && weight <= bytes));
                let mut keys = HashSet::new();
                for delivery in &flush {
                    let own: HashSet<&String> = delivery.dedupe_keys.iter().collect();
                    prop_assert!(own.iter().all(|key| keys.insert((*key).clone())));
                }
            }
            prop_assert_eq!(taken, offered.len());
        }
    }
}
