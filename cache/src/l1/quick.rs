//! quick_cache.

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;

use quick_cache::sync::Cache as Quick;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};

use super::L1;
use crate::entry::Entry;

pub(super) struct Level<V> {
    entries: Quick<Arc<[u8]>, Arc<Entry<V>>, ByWeight, DefaultHashBuilder, Outside>,
}

/// Entries know their weight.
#[derive(Clone)]
struct ByWeight;

/// Collects what has to go, so that it is dropped without a lock: the values are the user's.
#[derive(Clone)]
struct Outside;

/// What a part has room for, at least: nothing larger than a part can be kept.
const PART: u64 = 16 << 20;

/// Four for each processor, so that two of them are seldom at the same lock, as far as they are large enough.
fn parts(max_weight: u64) -> usize {
    let wanted = available_parallelism().map_or(1, NonZero::get) * 4;
    let large_enough = (max_weight / PART).max(1);
    // Rounded down: quick_cache rounds up, to a power of two.
    let most = 1 << large_enough.ilog2();
    wanted.min(most)
}

impl<V> Level<V> {
    pub(super) fn new(max_weight: u64) -> Self {
        // An entry of a kilobyte is an ordinary one. A wrong guess costs a little room, or a little of what is remembered of what has gone.
        let items = (max_weight / 1024).clamp(1, 1 << 20) as usize;
        let options = OptionsBuilder::new()
            .estimated_items_capacity(items)
            .weight_capacity(max_weight)
            .shards(parts(max_weight))
            .build()
            .expect("both are given");
        let hasher = DefaultHashBuilder::default();
        Self {
            entries: Quick::with_options(options, ByWeight, hasher, Outside),
        }
    }
}

impl<V: Send + Sync> L1<V> for Level<V> {
    fn get(&self, full: &[u8]) -> Option<Arc<Entry<V>>> {
        self.entries.get(full)
    }

    fn has(&self, full: &[u8]) -> bool {
        self.entries.contains_key(full)
    }

    fn insert(&self, full: Arc<[u8]>, entry: Arc<Entry<V>>) {
        let mut gone = Vec::new();
        self.entries.insert_with_lifecycle(full, entry, &mut gone);
    }

    fn remove(&self, full: &[u8]) {
        self.entries.remove(full);
    }

    fn clear(&self) {
        // One by one, each dropped without a lock. What is put in meanwhile may stay: it is none of what was to be cleared.
        self.entries.drain().for_each(drop);
    }

    fn size(&self) -> (u64, u64) {
        (self.entries.len() as u64, self.entries.weight())
    }
}

impl<V> Weighter<Arc<[u8]>, Arc<Entry<V>>> for ByWeight {
    fn weight(&self, _: &Arc<[u8]>, entry: &Arc<Entry<V>>) -> u64 {
        u64::from(entry.weight)
    }
}

impl<V> Lifecycle<Arc<[u8]>, Arc<Entry<V>>> for Outside {
    type RequestState = Vec<(Arc<[u8]>, Arc<Entry<V>>)>;

    fn on_evict(&self, gone: &mut Self::RequestState, full: Arc<[u8]>, entry: Arc<Entry<V>>) {
        gone.push((full, entry));
    }
}
