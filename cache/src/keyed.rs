//! A key in its cache, and serving what is stale there.

use std::sync::Arc;

use tokio::time::Instant;

use crate::cache::{Cache, Found};
use crate::clock::Stamp;
use crate::entry::{Entry, Usable};
use crate::error::FillError;
use crate::event::{Event, Stale};
use crate::hit::{Hit, State};

/// What a call comes to.
pub(crate) type Answer<V, E> = Result<Option<Hit<V>>, FillError<E>>;

/// A key in its cache.
pub(crate) struct Keyed<V> {
    pub(crate) cache: Cache<V>,
    pub(crate) full: Arc<[u8]>,
}

impl<V: Send + Sync + 'static> Keyed<V> {
    #[cfg(feature = "l2")]
    pub(crate) fn new(cache: &Cache<V>, key: &[u8]) -> Self {
        let (cache, full) = (cache.clone(), cache.full(key));
        Self { cache, full }
    }

    pub(crate) fn look_up(&self) -> Option<Found<V>> {
        self.cache.look_up(&self.full, Instant::now())
    }

    pub(crate) fn tell<'a>(&'a self, event: impl FnOnce(&'a [u8]) -> Event<'a>) {
        self.cache.tell(event, &self.full);
    }

    /// Whether the source is left in peace.
    pub(crate) fn is_calm(&self, entry: &Entry<V>) -> bool {
        entry.is_calm(self.cache.clock(), Instant::now())
    }

    /// The source was asked at `stamp`, in vain: it is left in peace for a while.
    pub(crate) fn calm(&self, entry: &Entry<V>, stamp: Stamp) {
        let until = self.cache.settings().calm_until(Instant::now());
        entry.calm(until, stamp);
    }

    /// A stale value, if it may still be served: it may have been removed while the source was asked, or have come to its end.
    pub(crate) fn serve_stale(&self, entry: &Arc<Entry<V>>, why: Stale) -> Option<Hit<V>> {
        let now = Instant::now();
        if !self.cache.is_trusted(now) || entry.usable(self.cache.clock(), now) == Usable::No {
            return None;
        }
        let hit = Hit::new(Arc::clone(entry), State::Stale, now)?;
        self.tell(|key| Event::ServedStale { key, why });
        Some(hit)
    }

    /// What can be served instead of what the source would say: a stale value within its grace, or a fresh one that somebody else has stored
    /// meanwhile. `held` is what was there before, and may have been pushed out since.
    pub(crate) fn instead(
        &self,
        held: Option<&Arc<Entry<V>>>,
        why: Stale,
    ) -> Option<Option<Hit<V>>> {
        let entry = self.cache.l1().get(&self.full);
        let entry = entry.or_else(|| held.cloned())?;
        let now = Instant::now();
        match entry.usable(self.cache.clock(), now) {
            // Fresh, but for what others may have said of it meanwhile.
            Usable::Fresh if !self.cache.is_trusted(now) => None,
            Usable::Fresh => Some(Hit::new(entry, State::Fresh, now)),
            _ => self.serve_stale(&entry, why).map(Some),
        }
    }

    /// Something is better than an error.
    pub(crate) fn or_stale<E>(
        &self,
        answer: Answer<V, E>,
        held: Option<&Arc<Entry<V>>>,
    ) -> Answer<V, E> {
        answer.or_else(|error| self.instead(held, Stale::Failed).ok_or(error))
    }
}

impl<V> Clone for Keyed<V> {
    fn clone(&self) -> Self {
        Self {
            cache: self.cache.clone(),
            full: Arc::clone(&self.full),
        }
    }
}
