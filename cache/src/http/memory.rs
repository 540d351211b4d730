//! A short, bounded memory of requests whose answers could not be shared.

use std::sync::Arc;
use std::time::Duration;

use buttress_wire::ShortMemory;
use tokio::time::Instant;

/// Remembers keys for a while: who asks for the like waits for nobody.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    hashes: Arc<ShortMemory>,
    start: Instant,
}

impl Memory {
    pub(super) fn new(keep: Duration) -> Self {
        Self {
            hashes: Arc::new(ShortMemory::new(keep)),
            start: Instant::now(),
        }
    }

    /// What a key is remembered by. The functions below take it: a key is hashed once.
    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        self.hashes.hash(key)
    }

    pub(super) fn remember(&self, hash: u64) {
        self.hashes.remember(hash, self.start.elapsed());
    }

    pub(super) fn forget(&self, hash: u64) {
        self.hashes.forget(hash);
    }

    pub(super) fn knows(&self, hash: u64, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.start);
        self.hashes.knows(hash, since)
    }
}
