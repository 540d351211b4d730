//! What a fill can say about the value it reads.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cache::Cache;
use crate::entry::Hit;
use crate::clock::{Name, Slot, Stamp};

/// Handed to the closure of [`Cache::get_or_set`]: what it finds out while it reads the source, it says here. A clone is the
/// same fill.
pub struct Fill<V> {
    cache: Cache<V>,
    stale: Option<Hit<V>>,
    said: Arc<Mutex<Said>>,
    /// When it began.
    stamp: Stamp,
}

/// What has been said of a value so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) ttl: Option<Duration>,
    pub(crate) grace: Option<Duration>,
    pub(crate) slots: Vec<Slot>,
    /// A dependency was filled anew while this fill ran: it may have read the old one, and is not stored.
    pub(crate) outrun: bool,
}

impl<V: Send + Sync + 'static> Fill<V> {
    pub(crate) fn new(cache: &Cache<V>, stale: Option<Hit<V>>, said: Said, stamp: Stamp) -> Self {
        Self {
            cache: cache.clone(),
            stale,
            said: Arc::new(Mutex::new(said)),
            stamp,
        }
    }

    /// The value that is there, past its time: to ask the source whether it has changed.
    #[must_use]
    pub fn stale(&self) -> Option<&Hit<V>> {
        self.stale.as_ref()
    }

    /// How long the value is fresh.
    pub fn ttl(&self, ttl: Duration) -> &Self {
        self.say(|said| said.ttl = Some(ttl))
    }

    /// For how long after that it may be served when the source fails.
    pub fn grace(&self, grace: Duration) -> &Self {
        self.say(|said| said.grace = Some(grace))
    }

    /// The value goes when `tag` is invalidated. That the tag is only known now, after the source was read, is fine: what counts
    /// is when the fill began.
    pub fn tag(&self, tag: &str) -> &Self {
        let slot = self.cache.clock().slot(Name::Tag(tag));
        self.say(|said| said.push(slot))
    }

    /// The value goes when the one under `key` is removed or expired, or would go by a tag of that one. Only what is cached now has tags to
    /// go by; and if it was filled anew since this fill began, which may have read the one before, this value is not stored.
    pub fn depends_on(&self, key: impl AsRef<[u8]>) -> &Self {
        let (slots, born) = self.cache.dependency(key.as_ref());
        let outrun =
            born.is_some_and(|of| of.epoch != self.stamp.epoch || of.born > self.stamp.born);
        self.say(|said| {
            slots.into_iter().for_each(|slot| said.push(slot));
            said.outrun |= outrun;
        })
    }

    pub(crate) fn said(&self) -> Said {
        self.said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn say(&self, change: impl FnOnce(&mut Said)) -> &Self {
        change(&mut self.said.lock().unwrap_or_else(PoisonError::into_inner));
        self
    }
}

impl Said {
    pub(crate) fn push(&mut self, slot: Slot) {
        if !self.slots.contains(&slot) {
            self.slots.push(slot);
        }
    }
}

impl<V> Clone for Fill<V> {
    fn clone(&self) -> Self {
        Self {
            cache: self.cache.clone(),
            stale: self.stale.clone(),
            said: Arc::clone(&self.said),
            stamp: self.stamp,
        }
    }
}

impl<V> std::fmt::Debug for Fill<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fill")
            .field("said", &self.said)
            .finish_non_exhaustive()
    }
}
