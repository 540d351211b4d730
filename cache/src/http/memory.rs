//! A short, bounded memory of requests whose answers could not be shared.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Remembers keys for a while, by their hashes in a fixed number of slots: who asks for the like waits for nobody.
///
/// A newer one may push out an older one, and then a few requests queue once in vain. Nothing else is lost, so no lock is needed.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    /// Upper half of the hash ┃ until when, in seconds since `start`; or zero.
    slots: Arc<[AtomicU64]>,
    start: Instant,
    keep: Duration,
    hasher: RandomState,
}

const SLOTS: usize = 1024;
const TIME_MASK: u64 = 0xffff_ffff;

impl Memory {
    pub(super) fn new(keep: Duration) -> Self {
        Self {
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            start: Instant::now(),
            keep,
            hasher: RandomState::new(),
        }
    }

    pub(super) fn remember(&self, key: &[u8]) {
        if self.keep.is_zero() {
            return;
        }
        let until = self.start.elapsed().saturating_add(self.keep).as_secs();
        let until = until.saturating_add(1).min(TIME_MASK);
        let hash = self.hasher.hash_one(key);
        self.slot(hash)
            .store(hash & !TIME_MASK | until, Ordering::Relaxed);
    }

    pub(super) fn forget(&self, key: &[u8]) {
        self.slot(self.hasher.hash_one(key))
            .store(0, Ordering::Relaxed);
    }

    pub(super) fn knows(&self, key: &[u8]) -> bool {
        let hash = self.hasher.hash_one(key);
        let slot = self.slot(hash).load(Ordering::Relaxed);
        slot != 0
            && slot & !TIME_MASK == hash & !TIME_MASK
            && self.start.elapsed().as_secs() < slot & TIME_MASK
    }

    fn slot(&self, hash: u64) -> &AtomicU64 {
        &self.slots[hash as usize % SLOTS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_remembers_for_a_while() {
        let memory = Memory::new(Duration::from_secs(10));
        assert!(!memory.knows(b"a"));
        memory.remember(b"a");
        assert!(memory.knows(b"a") && !memory.knows(b"b"));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(
            memory.knows(b"a"),
            "rather a second too long than too short"
        );
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(!memory.knows(b"a"));
    }

    #[tokio::test(start_paused = true)]
    async fn it_forgets_when_told_and_remembers_nothing_for_no_time() {
        let memory = Memory::new(Duration::MAX);
        memory.remember(b"a");
        assert!(memory.knows(b"a"));
        memory.forget(b"a");
        assert!(!memory.knows(b"a"));
        let memory = Memory::new(Duration::ZERO);
        memory.remember(b"a");
        assert!(!memory.knows(b"a"));
    }
}
