//! A short, bounded memory of keys whose answers are private.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Remembers hashes for a while, in a fixed number of slots; a newer one may push out an older one, and then a few requests queue
/// once in vain. Nothing else is lost, so that no lock is needed.
#[derive(Debug)]
pub(super) struct ShortMemory {
    /// `hash's upper half ┃ seconds since `start`, or zero.
    slots: [AtomicU64; SLOTS],
    start: Instant,
    keep: Duration,
}

const SLOTS: usize = 1024;
const TIME_MASK: u64 = 0xffff_ffff;

impl ShortMemory {
    pub(super) fn new(keep: Duration) -> Self {
        Self {
            slots: std::array::from_fn(|_| AtomicU64::new(0)),
            start: Instant::now(),
            keep,
        }
    }

    pub(super) fn remember(&self, hash: u64) {
        if self.keep.is_zero() {
            return;
        }
        let until = self.start.elapsed().saturating_add(self.keep).as_secs();
        let until = until.saturating_add(1).min(TIME_MASK);
        self.slot(hash)
            .store(hash & !TIME_MASK | until, Ordering::Relaxed);
    }

    pub(super) fn knows(&self, hash: u64) -> bool {
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
    async fn it_remembers_for_ever_or_not_at_all() {
        for (keep, knows) in [
            (Duration::MAX, true),
            (Duration::from_secs(u32::MAX.into()), true),
            (Duration::ZERO, false),
        ] {
            let memory = ShortMemory::new(keep);
            memory.remember(7 << 40);
            assert_eq!(memory.knows(7 << 40), knows, "{keep:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_remembers_for_a_while() {
        let memory = ShortMemory::new(Duration::from_secs(10));
        let hash = 0x1234_5678_9abc_def0;
        assert!(!memory.knows(hash));
        memory.remember(hash);
        assert!(memory.knows(hash));
        assert!(!memory.knows(hash ^ 1 << 63));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(
            memory.knows(hash),
            "rather a second too long than too short"
        );
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(!memory.knows(hash));
    }
}
