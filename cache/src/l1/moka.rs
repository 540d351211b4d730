//! moka, without its clock: lifetimes are the entries' own, and validity is the invalidation clock's.

use std::sync::Arc;

use foldhash::quality::RandomState;
use moka::policy::EvictionPolicy;
use moka::sync::Cache as Moka;

use super::outside::{Kept, within};
use super::{Eviction, L1};
use crate::entry::Entry;

/// `get_with` is not used: it would hold a value that was invalidated while it was made.
///
/// Keys are hashed by foldhash, seeded at random for each cache, and not by SipHash, which took a quarter of a look-up: no hash is ever seen outside, and what is
/// kept is bounded by weight.
pub(super) struct Level<V: Send + Sync + 'static> {
    entries: Moka<Arc<[u8]>, Kept<V>, RandomState>,
    max_weight: u64,
}

impl<V: Send + Sync + 'static> Level<V> {
    pub(super) fn new(eviction: Eviction, max_weight: u64) -> Self {
        let policy = match eviction {
            Eviction::Lru => EvictionPolicy::lru(),
            Eviction::TinyLfu => EvictionPolicy::tiny_lfu(),
        };
        let entries = Moka::builder()
            .max_capacity(max_weight)
            .eviction_policy(policy)
            .weigher(|_, kept: &Kept<V>| kept.weight())
            .build_with_hasher(RandomState::default());
        Self {
            entries,
            max_weight,
        }
    }
}

impl<V: Send + Sync + 'static> L1<V> for Level<V> {
    fn get(&self, full: &[u8]) -> Option<Arc<Entry<V>>> {
        within(|| self.entries.get(full)).and_then(Kept::into_inner)
    }

    fn has(&self, full: &[u8]) -> bool {
        within(|| self.entries.contains_key(full))
    }

    fn insert(&self, full: Arc<[u8]>, entry: Arc<Entry<V>>) -> bool {
        let fits = u64::from(entry.weight) <= self.max_weight;
        within(|| self.entries.insert(full, Kept::new(entry)));
        fits
    }

    fn largest(&self) -> u64 {
        self.max_weight
    }

    fn remove(&self, full: &[u8]) {
        within(|| self.entries.invalidate(full));
    }

    fn clear(&self) {
        within(|| self.entries.invalidate_all());
    }

    fn size(&self) -> (u64, u64) {
        within(|| self.entries.run_pending_tasks());
        (self.entries.entry_count(), self.entries.weighted_size())
    }
}
