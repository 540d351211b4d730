//! The first level: in the process, bounded by weight.

use std::sync::Arc;

use moka::sync::Cache as Moka;

use crate::entry::Entry;

/// moka, without its clock: lifetimes are the entries' own, and validity is the invalidation clock's.
///
/// Only `get`, `insert` and `invalidate` are used. `get_with` would hold a value that was invalidated while it was made.
#[derive(Clone)]
pub(crate) struct L1<V> {
    entries: Moka<Arc<[u8]>, Arc<Entry<V>>>,
}

impl<V: Send + Sync + 'static> L1<V> {
    pub(crate) fn new(max_weight: u64) -> Self {
        let entries = Moka::builder()
            .max_capacity(max_weight)
            .weigher(|_, entry: &Arc<Entry<V>>| entry.weight)
            .build();
        Self { entries }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Arc<Entry<V>>> {
        self.entries.get(key)
    }

    pub(crate) fn insert(&self, key: Arc<[u8]>, entry: Arc<Entry<V>>) {
        self.entries.insert(key, entry);
    }

    pub(crate) fn remove(&self, key: &[u8]) {
        self.entries.invalidate(key);
    }

    pub(crate) fn clear(&self) {
        self.entries.invalidate_all();
    }

    /// How many entries, of what weight, near enough.
    pub(crate) fn size(&self) -> (u64, u64) {
        self.entries.run_pending_tasks();
        (self.entries.entry_count(), self.entries.weighted_size())
    }
}
