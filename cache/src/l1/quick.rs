//! quick_cache.

use std::num::NonZero;
use std::ptr;
use std::sync::Arc;
use std::thread::available_parallelism;

use quick_cache::sync::Cache as Quick;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};

use super::L1;
use crate::entry::Entry;

pub(super) struct Level<V> {
    entries: Quick<Arc<[u8]>, Arc<Entry<V>>, ByWeight, DefaultHashBuilder, Outside>,
    largest: u64,
}

/// Entries know their weight.
#[derive(Clone)]
struct ByWeight;

/// Collects what has to go, so that it is dropped without a lock: the values are the user's.
#[derive(Clone)]
struct Outside;

/// What a part has room for, at least: three of the largest responses that are stored by default.
const PART: u64 = 32 << 20;

/// How much of a part is for what stays. Nothing larger is taken.
const HOT: f64 = 0.97;

/// Four for each processor, so that two of them are seldom at the same lock, as far as they are large enough.
fn parts(max_weight: u64, processors: usize) -> u64 {
    let wanted = processors as u64 * 4;
    let large_enough = max_weight / PART;
    // Rounded down: quick_cache rounds up, to a power of two.
    1 << wanted.min(large_enough).max(1).ilog2()
}

impl<V> Level<V> {
    pub(super) fn new(max_weight: u64) -> Self {
        // An entry of a kilobyte is an ordinary one. A wrong guess costs a little room, or a little of what is remembered of what has gone.
        let items = (max_weight / 1024).clamp(1, 1 << 20) as usize;
        let parts = parts(max_weight, available_parallelism().map_or(1, NonZero::get));
        let options = OptionsBuilder::new()
            .estimated_items_capacity(items)
            .weight_capacity(max_weight)
            .hot_allocation(HOT)
            .shards(parts as usize)
            .build()
            .expect("both are given");
        let hasher = DefaultHashBuilder::default();
        Self {
            entries: Quick::with_options(options, ByWeight, hasher, Outside),
            largest: (max_weight.div_ceil(parts) as f64 * HOT) as u64,
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

    fn insert(&self, full: Arc<[u8]>, entry: Arc<Entry<V>>) -> bool {
        // What is remembered to have gone not long ago enters among what is in use, and room is made after it is there: it may be what goes. That is
        // then forgotten, and it enters as what is new.
        let back = self.put(full, entry);
        back.is_none_or(|(full, entry)| self.put(full, entry).is_none())
    }

    fn largest(&self) -> u64 {
        self.largest
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

impl<V> Level<V> {
    /// Gives it back if it was the one to go.
    fn put(&self, full: Arc<[u8]>, entry: Arc<Entry<V>>) -> Option<Gone<V>> {
        let mut gone = Vec::new();
        let this = Arc::as_ptr(&entry);
        self.entries.insert_with_lifecycle(full, entry, &mut gone);
        let found = gone
            .iter()
            .position(|(_, entry)| ptr::eq(Arc::as_ptr(entry), this));
        found.map(|index| gone.swap_remove(index))
    }
}

/// What had to go, with its key.
type Gone<V> = (Arc<[u8]>, Arc<Entry<V>>);

impl<V> Weighter<Arc<[u8]>, Arc<Entry<V>>> for ByWeight {
    fn weight(&self, _: &Arc<[u8]>, entry: &Arc<Entry<V>>) -> u64 {
        u64::from(entry.weight)
    }
}

impl<V> Lifecycle<Arc<[u8]>, Arc<Entry<V>>> for Outside {
    type RequestState = Vec<Gone<V>>;

    fn on_evict(&self, gone: &mut Self::RequestState, full: Arc<[u8]>, entry: Arc<Entry<V>>) {
        gone.push((full, entry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_even_powers_of_two_and_large_enough() {
        const MIB: u64 = 1 << 20;
        for (max_weight, processors, wanted) in [
            (0, 1, 1),
            (1, 64, 1),
            (63 * MIB, 64, 1),
            (64 * MIB, 1, 2),
            (64 * MIB, 64, 2),
            (127 * MIB, 64, 2),
            (128 * MIB, 1, 4),
            (256 * MIB, 1, 4),
            (256 * MIB, 2, 8),
            (256 * MIB, 64, 8),
            // Rounded down, both.
            (1024 * MIB, 6, 16),
            (1000 * MIB, 64, 16),
            (u64::MAX, 64, 256),
        ] {
            let parts = parts(max_weight, processors);
            assert_eq!(parts, wanted, "{max_weight} bytes, {processors}");
            let level = Level::<()>::new(max_weight);
            assert!(level.largest <= max_weight, "{max_weight}");
        }
    }
}
