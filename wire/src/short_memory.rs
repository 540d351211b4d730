//! A short, bounded memory of what could not be shared.

use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use foldhash::quality::RandomState;

/// Remembers hashes for a while, in a fixed number of slots (8 KiB), so that those who ask for what could not be shared the last time do not wait for each other.
///
/// A newer hash may push out an older one, and two may be taken for one: then a few wait once in vain, or do not wait once. Nothing else is lost, and so no lock is needed.
///
/// `now` is how long ago its owner began to count.
pub struct ShortMemory {
    /// Upper half of the hash ┃ until when, in seconds; or zero.
    slots: [AtomicU64; SLOTS],
    keep: Duration,
    hasher: RandomState,
}

const SLOTS: usize = 1024;
const TIME_MASK: u64 = 0xffff_ffff;

impl ShortMemory {
    /// One that remembers for `keep`, to the second, and rather longer than shorter. Zero remembers nothing.
    #[must_use]
    pub fn new(keep: Duration) -> Self {
        Self {
            slots: std::array::from_fn(|_| AtomicU64::new(0)),
            keep,
            hasher: RandomState::default(),
        }
    }

    /// The hash that a key is remembered by, here and nowhere else. It is a fast one: whoever finds keys with equal hashes has them taken for one.
    #[must_use]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    /// From `now` on, and for a while, `hash` is known.
    pub fn remember(&self, hash: u64, now: Duration) {
        if self.keep.is_zero() {
            return;
        }
        let until = now.saturating_add(self.keep).as_secs();
        let until = until.saturating_add(1).min(TIME_MASK);
        self.slot(hash)
            .store(hash & !TIME_MASK | until, Ordering::Relaxed);
    }

    /// Whether it was remembered a short while ago.
    #[must_use]
    pub fn knows(&self, hash: u64, now: Duration) -> bool {
        let slot = self.slot(hash).load(Ordering::Relaxed);
        slot != 0 && slot & !TIME_MASK == hash & !TIME_MASK && now.as_secs() < slot & TIME_MASK
    }

    /// It is not known any more.
    pub fn forget(&self, hash: u64) {
        self.slot(hash).store(0, Ordering::Relaxed);
    }

    fn slot(&self, hash: u64) -> &AtomicU64 {
        &self.slots[hash as usize % SLOTS]
    }
}

impl fmt::Debug for ShortMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShortMemory")
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::ZERO;
    const HASH: u64 = 0x1234_5678_9abc_def0;

    #[test]
    fn it_remembers_for_ever_or_not_at_all() {
        for (keep, knows) in [
            (Duration::MAX, true),
            (Duration::from_secs(u32::MAX.into()), true),
            (Duration::ZERO, false),
        ] {
            let memory = ShortMemory::new(keep);
            memory.remember(7 << 40, START);
            assert_eq!(memory.knows(7 << 40, START), knows, "{keep:?}");
        }
    }

    #[test]
    fn it_remembers_for_a_while() {
        let memory = ShortMemory::new(Duration::from_secs(10));
        assert!(!memory.knows(HASH, START));
        memory.remember(HASH, START);
        for (after, knows) in [(0, true), (10, true), (12, false)] {
            assert_eq!(
                memory.knows(HASH, Duration::from_secs(after)),
                knows,
                "{after}"
            );
        }
        assert!(
            !memory.knows(HASH ^ 1 << 63, START),
            "that is another one in the same slot"
        );
    }

    #[test]
    fn a_key_is_known_by_its_hash() {
        let memory = ShortMemory::new(Duration::MAX);
        memory.remember(memory.hash(b"a"), START);
        assert!(memory.knows(memory.hash(b"a"), START));
        assert!(!memory.knows(memory.hash(b"b"), START));
    }

    #[test]
    fn it_forgets_when_told() {
        let memory = ShortMemory::new(Duration::MAX);
        memory.remember(HASH, START);
        memory.forget(HASH);
        assert!(!memory.knows(HASH, START));
    }
}
