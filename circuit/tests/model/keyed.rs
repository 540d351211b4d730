//! Breakers by key, against a list.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use buttress_circuit::{Backoff, Breaker, Breakers, ManualClock, consecutive};
use proptest::prelude::*;

const OPEN: u64 = 10;

#[derive(Clone, Debug)]
enum Step {
    Get(u8),
    /// And keeps a handle.
    Hold(u8),
    /// Drops the oldest handle.
    Release,
    /// And opens it.
    Fail(u8),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..12_u8;
    prop_oneof![
        4 => key.clone().prop_map(Step::Get),
        2 => key.clone().prop_map(Step::Hold),
        2 => Just(Step::Release),
        2 => key.prop_map(Step::Fail),
        1 => (1..=OPEN).prop_map(Step::Wait),
    ]
}

/// The breakers as a list, the least recently used first.
#[derive(Debug, Default)]
struct Model {
    entries: Vec<Entry>,
    made: u32,
    now: u64,
}

#[derive(Debug)]
struct Entry {
    key: u8,
    /// How many were made before.
    number: u32,
    open_until: Option<u64>,
}

impl Model {
    /// The number of the breaker that serves `key`; none if that is the one for overflow.
    fn get(&mut self, key: u8, capacity: usize, held: &[Option<u32>]) -> Option<u32> {
        let number = self.made;
        if let Some(at) = self.entries.iter().position(|entry| entry.key == key) {
            let entry = self.entries.remove(at);
            let number = entry.number;
            self.entries.push(entry);
            return Some(number);
        }
        self.made += 1;
        if self.entries.len() == capacity {
            let is_free = |entry: &&Entry| !held.contains(&Some(entry.number));
            let free = || self.entries.iter().filter(is_free);
            let closed = free().find(|entry| entry.open_until.is_none());
            let due = || free().find(|entry| entry.open_until.is_some_and(|end| end <= self.now));
            let goes = closed.or_else(due)?.number;
            self.entries.retain(|entry| entry.number != goes);
        }
        self.entries.push(Entry {
            key,
            number,
            open_until: None,
        });
        Some(number)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn breakers_by_key_are_a_bounded_list(
        capacity in 1..6_usize,
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let clock = ManualClock::new();
        let model = Breaker::builder("model")
            .trip(consecutive(1))
            .open_for(Backoff::constant(Duration::from_secs(OPEN)))
            .clock(&clock)
            .build()
            .unwrap();
        let made = Arc::new(AtomicU32::new(0));
        let breakers = Breakers::builder(model)
            .capacity(NonZeroUsize::new(capacity).unwrap())
            .named_by(move |_: &u8| made.fetch_add(1, Ordering::SeqCst).to_string())
            .build();
        let mut naive = Model::default();
        let mut held: Vec<(Option<u32>, Breaker)> = Vec::new();
        for step in steps {
            let (key, hold, fail) = match step {
                Step::Get(key) => (key, false, false),
                Step::Hold(key) => (key, true, false),
                Step::Fail(key) => (key, false, true),
                Step::Release => {
                    if !held.is_empty() {
                        held.remove(0);
                    }
                    continue;
                }
                Step::Wait(seconds) => {
                    clock.advance(Duration::from_secs(seconds));
                    naive.now += seconds;
                    continue;
                }
            };
            let numbers: Vec<_> = held.iter().map(|(number, _)| *number).collect();
            let number = naive.get(key, capacity, &numbers);
            let breaker = breakers.get(&key);
            let name = number.map_or("model/overflow".to_owned(), |n| n.to_string());
            prop_assert_eq!(&**breaker.name(), name);
            prop_assert_eq!(breakers.len(), naive.entries.len());
            if fail && number.is_some() {
                breaker.open_for(Duration::from_secs(OPEN));
                let entry = naive.entries.last_mut().unwrap();
                entry.open_until = Some(naive.now + OPEN);
            }
            if hold {
                held.push((number, breaker));
            }
        }
    }
}
