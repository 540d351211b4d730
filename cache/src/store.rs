//! Putting a value into the cache, or seeing that it must not be.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cache::Cache;
use crate::clock::{Name, Stamp, Validity};
use crate::entry::{Entry, Held, Lifetime};
use crate::event::Event;
use crate::fill::Said;
use crate::view::View;

/// What was read, and when.
pub(crate) struct Reading<V> {
    pub(crate) held: Held<V>,
    pub(crate) stamp: Stamp,
    pub(crate) said: Said,
    pub(crate) took: Duration,
    pub(crate) now: Instant,
    /// Whether it may be kept in memory.
    pub(crate) keep: bool,
}

impl<V: Send + Sync + 'static> Cache<V> {
    /// Stores what was read, if it may be. The entry is for those who waited for it, in any case.
    pub(crate) fn store(&self, full: &Arc<[u8]>, reading: Reading<V>) -> Arc<Entry<V>> {
        let keep = reading.keep;
        let entry = Arc::new(self.entry(full, reading));
        if !keep {
            return entry;
        }
        if entry.unstorable {
            self.tell(|key| Event::Unstored { key }, full);
        } else if entry.lifetime == NONE && entry.value().is_none() {
            // The source has it no more: what is left of it must not be served when the source fails.
            self.l1().remove(full);
        } else if self.is_worth_it(&entry) {
            self.keep(full, &entry);
        }
        entry
    }

    /// Also in place of what is newer: each is valid or not by its own stamp.
    pub(crate) fn keep(&self, full: &Arc<[u8]>, entry: &Arc<Entry<V>>) {
        let has_room = self.l1().insert(Arc::clone(full), Arc::clone(entry));
        if !has_room {
            self.tell(|key| Event::Unstored { key }, full);
        }
    }

    fn entry(&self, full: &[u8], reading: Reading<V>) -> Entry<V> {
        let Reading {
            held,
            stamp,
            mut said,
            took,
            now,
            keep: _,
        } = reading;
        said.push(self.clock().slot(Name::Key(full)));
        let view = self.view().map_or(&[][..], View::slots);
        view.iter().for_each(|slot| said.push(*slot));
        let lifetime = self.settings().lifetime(&held, &said).unwrap_or(NONE);
        let guarded = self.clock().is_guarded(stamp, said.slots.as_slice());
        let mut entry = Entry::new(held, stamp, said.slots, now, lifetime);
        entry.weight = self.settings().weigh(full, entry.value(), &entry.slots);
        entry.unstorable = said.unstorable || guarded;
        entry.took = Some(took);
        entry
    }

    /// What was removed while it was read would only be in the way of others.
    fn is_worth_it(&self, entry: &Entry<V>) -> bool {
        match entry.validity(self.clock()) {
            Validity::Valid => true,
            Validity::Expired => !entry.lifetime.grace.is_zero(),
            Validity::Removed => false,
        }
    }
}

/// Of what is not kept.
const NONE: Lifetime = Lifetime {
    ttl: Duration::ZERO,
    grace: Duration::ZERO,
};
