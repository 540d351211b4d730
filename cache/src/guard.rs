//! Keeping values out while they are being changed.

use std::fmt;

use crate::cache::Cache;
use crate::clock::Slot;
use crate::told::Told;

/// Keeps what has one of its tags from being stored; made by [`Cache::guard`].
///
/// # Cancellation
///
/// Dropping it ends it: what is read from then on can be stored, and what was read while it lived never is. One that is forgotten guards for ever.
#[must_use = "dropping it ends it"]
pub struct Guard<V> {
    cache: Cache<V>,
    /// Each as often as it came.
    slots: Box<[Slot]>,
}

impl<V> Guard<V> {
    pub(crate) fn new(cache: &Cache<V>, slots: impl Iterator<Item = Slot>) -> Self {
        let (cache, slots) = (cache.clone(), slots.collect());
        let guard = Self { cache, slots };
        guard.cache.clock().guard(&guard.slots);
        guard
    }
}

impl<V> Drop for Guard<V> {
    fn drop(&mut self) {
        let clock = self.cache.clock();
        if !clock.unguard(&self.slots) {
            self.cache.tell_others_later(Some(Told::All));
        } else if clock.is_far_from_the_last_step() {
            let slot = self.slots.first().copied().unwrap_or_default();
            self.cache.take_a_step(slot);
        }
    }
}

impl<V> fmt::Debug for Guard<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("tags", &self.slots.len())
            .finish_non_exhaustive()
    }
}
