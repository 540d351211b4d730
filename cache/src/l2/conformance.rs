//! What every second level must hold, as checks that can be run on yours.
//!
//! ```
//! use buttress_cache::l2::{conformance, simulated::Simulated};
//!
//! # tokio_test::block_on(async {
//! conformance::check(&Simulated::talkative().link()).await;
//! # })
//! ```
//!
//! They need one in which nothing has been written yet, and to which nobody else writes. None sleeps.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;

use super::{Bump, EntryKey, Head, L2, Moved, News, SLOT_BYTES, Slots, TIPS, Written};
use crate::clock::Depth;

const HOUR: Duration = Duration::from_secs(3600);

/// Runs every check.
///
/// # Panics
///
/// When the second level does not hold what [`L2`] asks.
pub async fn check(l2: &impl L2) {
    an_entry_is_kept_as_it_is(l2).await;
    an_entry_gives_way_to_a_younger_one_only(l2).await;
    a_clock_begins_once(l2).await;
    a_step_raises_its_slots_and_is_told(l2).await;
    an_epoch_takes_the_place_of_the_one_that_was_expected(l2).await;
}

/// What a frame holds under a key, if it is one: for those who attack its decoder.
#[doc(hidden)]
#[must_use]
pub fn payload_of(frame: Bytes, key: &[u8]) -> Option<Bytes> {
    super::frame::Frame::decode(frame, key)?.payload
}

async fn an_entry_is_kept_as_it_is(l2: &impl L2) {
    let key = EntryKey([1; 16]);
    assert_eq!(l2.get(&key).await.unwrap(), None);
    for frame in [entry(1, 1, b"value"), entry(1, 1, &[0, 255, b'\r', b'\n'])] {
        assert!(set(l2, &key, frame.clone()).await);
        let (kept, left) = l2.get(&key).await.unwrap().expect("it was set");
        assert_eq!(kept, frame.0);
        assert!(left > HOUR / 2 && left <= HOUR, "{left:?}");
    }
    assert_eq!(l2.get(&EntryKey([2; 16])).await.unwrap(), None);
}

async fn an_entry_gives_way_to_a_younger_one_only(l2: &impl L2) {
    let key = EntryKey([3; 16]);
    // More than half of all numbers, so that nobody takes them for negative ones.
    let old = 1 << 47;
    assert!(set(l2, &key, entry(1, old, b"first")).await);
    assert!(set(l2, &key, entry(1, old, b"as old")).await);
    assert!(set(l2, &key, entry(1, old + 1, b"younger")).await);
    assert!(!set(l2, &key, entry(1, old, b"older")).await);
    let (kept, _) = l2.get(&key).await.unwrap().expect("it was set");
    assert_eq!(kept, entry(1, old + 1, b"younger").0);
    let other_epoch = entry(u64::MAX, 0, b"other epoch");
    assert!(set(l2, &key, other_epoch.clone()).await);
    assert_eq!(l2.get(&key).await.unwrap().unwrap().0, other_epoch.0);
}

async fn a_clock_begins_once(l2: &impl L2) {
    assert_eq!(l2.head().await.unwrap(), None);
    assert_eq!(l2.read().await.unwrap(), None);
    let head = head(u64::MAX, 7, u64::MAX - 1);
    assert!(l2.begin(None, head).await.unwrap());
    assert!(!l2.begin(None, head).await.unwrap());
    assert_eq!(l2.head().await.unwrap(), Some(head));
    let (read, slots) = l2.read().await.unwrap().expect("it has begun");
    assert_eq!(read, head);
    assert!(slots.steps.iter().all(|byte| *byte == 0));
}

async fn a_step_raises_its_slots_and_is_told(l2: &impl L2) {
    let mut news = l2.listen();
    let before = l2.head().await.unwrap().expect("it has begun");
    let steps = [
        (Depth::Expire, vec![0, 5, 1023]),
        (Depth::Remove, vec![5]),
        (Depth::Expire, vec![6]),
    ];
    let mut last = before;
    for (tip, (depth, slots)) in (100..).zip(steps) {
        let begin = head(1, 1, tip);
        let bump = Bump {
            slots: slots.clone(),
            depth,
            begin,
        };
        let moved = l2.bump(bump).await.unwrap();
        let next = head(last.epoch, last.seq + 1, tip);
        let expected = Moved {
            head: next,
            previous: last.tip,
            slots,
            depth,
        };
        assert_eq!(moved, expected);
        assert_eq!(l2.head().await.unwrap(), Some(next));
        // Nothing of before is told to who listens only now; but that something may have been missed can be said at any time.
        let heard = loop {
            match news.recv().await {
                Some(News::Unclear) => {}
                heard => break heard,
            }
        };
        assert_eq!(heard, Some(News::Moved(expected)));
        last = next;
    }
    let (read, slots) = l2.read().await.unwrap().expect("it has begun");
    assert_eq!(read, last);
    let seqs = |slots: &Slots, at: [usize; 5]| at.map(|at| seq(slots, at));
    let first = before.seq + 1;
    assert_eq!(
        seqs(&slots, [0, 1, 5, 6, 1023]),
        [first, 0, first, first + 2, first]
    );
    let removed = slots.steps.len() / SLOT_BYTES;
    let raised = (1024..removed).filter(|at| seq(&slots, *at) > 0).count();
    assert_eq!(raised, 1, "one slot was removed");
    for (step, known) in [(last.seq, last.tip), (last.seq - 1, last.tip - 1)] {
        assert_eq!(tip(&slots, step), known, "tips are remembered");
    }
}

async fn an_epoch_takes_the_place_of_the_one_that_was_expected(l2: &impl L2) {
    let there = l2.head().await.unwrap().expect("it has begun");
    let (_, slots) = l2.read().await.unwrap().expect("it has begun");
    let wrong = head(there.epoch, there.seq, there.tip ^ 1);
    let next = head(5, there.seq + 10, 6);
    assert!(!l2.begin(Some(wrong), next).await.unwrap());
    assert!(l2.begin(Some(there), next).await.unwrap());
    let read = l2.read().await.unwrap().expect("it has begun");
    assert_eq!(read.0, next);
    assert_eq!(read.1.steps, slots.steps, "slots stay");
    assert_eq!(tip(&read.1, next.seq), next.tip);
}

/// A clock that begins with a step: for a second level in which nothing is written yet.
///
/// # Panics
///
/// When the second level does not hold what [`L2`] asks.
pub async fn check_first_step(l2: &impl L2) {
    let bump = Bump {
        slots: vec![1],
        depth: Depth::Expire,
        begin: head(9, 42, 3),
    };
    assert_eq!(l2.bump(bump).await.unwrap().head, head(9, 42, 3));
    assert_eq!(l2.head().await.unwrap(), Some(head(9, 42, 3)));
}

fn head(epoch: u64, seq: u64, tip: u64) -> Head {
    Head { epoch, seq, tip }
}

fn seq(slots: &Slots, at: usize) -> u64 {
    let bytes = slots.steps.get(at * SLOT_BYTES..(at + 1) * SLOT_BYTES);
    bytes
        .unwrap_or_default()
        .iter()
        .fold(0, |seq, byte| seq << 8 | u64::from(*byte))
}

fn tip(slots: &Slots, seq: u64) -> u64 {
    let (tips, _) = slots.tips.as_chunks::<8>();
    u64::from_be_bytes(tips[seq as usize % TIPS])
}

/// As the cache writes them: what it is, epoch and birth first.
fn entry(epoch: u64, born: u64, value: &[u8]) -> (Bytes, Written) {
    let frame = [
        b"bce1",
        &epoch.to_be_bytes()[..],
        &born.to_be_bytes(),
        value,
    ]
    .concat();
    (frame.into(), Written { epoch, born })
}

async fn set(l2: &impl L2, key: &EntryKey, (frame, written): (Bytes, Written)) -> bool {
    l2.set(key, frame, written, HOUR).await.unwrap()
}
