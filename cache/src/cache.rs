//! The data cache.

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use buttress_dedup::Flights;
use tokio::time::Instant;

use crate::builder::{Builder, Settings};
use crate::counters::Counters;
use crate::entry::{Entry, Hit, Lifetime, State, Usable};
use crate::event::{Event, Snapshot};
use crate::fill::{Fill, Said};
use crate::get_or_set::{Filled, GetOrSet};
use crate::clock::{Depth, InvalidationClock, Name, Slot, Stamp};
use crate::l1::L1;

/// A cache of values by key, with tags and dependencies, that never serves what was invalidated before the call began.
///
/// ```
/// use buttress_cache::{Cache, Fill};
/// use std::time::Duration;
///
/// # tokio_test::block_on(async {
/// let products = Cache::<String>::builder().ttl(Duration::from_secs(60)).build();
/// let name = products
///     .get_or_set("product:42", |fill: Fill<String>| async move {
///         fill.tag("category:7");
///         Ok::<_, std::io::Error>(Some("Lamp".to_owned()))
///     })
///     .await?
///     .expect("the source knows it");
/// assert_eq!(*name, "Lamp");
///
/// products.invalidate(["category:7"]);
/// assert!(products.get("product:42").is_none());
/// # Ok::<_, buttress_cache::FillError<std::io::Error>>(())
/// # }).unwrap();
/// ```
///
/// Cloning it costs one `Arc`. [`Cache::partition`] gives a view that shares nothing with other partitions but the room.
pub struct Cache<V> {
    inner: Arc<Inner<V>>,
    partition: Option<Arc<[u8]>>,
}

struct Inner<V> {
    l1: L1<V>,
    clock: InvalidationClock,
    flights: Flights<Arc<[u8]>, Filled<V>>,
    settings: Settings<V>,
    counters: Counters,
    /// Names partitions.
    partitions: RandomState,
}

impl<V: Send + Sync + 'static> Cache<V> {
    /// Chooses a cache's size and its defaults.
    pub fn builder() -> Builder<V> {
        Builder::new()
    }

    pub(crate) fn build(settings: Settings<V>, counters: Counters) -> Self {
        let inner = Inner {
            l1: L1::new(settings.max_weight),
            clock: InvalidationClock::new(settings.slots),
            // A waiter is a caller's own future: there are never more of them than callers.
            flights: Flights::builder().max_waiters(NonZeroUsize::MAX).build(),
            settings,
            counters,
            partitions: RandomState::new(),
        };
        Self {
            inner: Arc::new(inner),
            partition: None,
        }
    }

    /// The value under `key`, if it is fresh.
    #[must_use]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Hit<V>> {
        self.get_at(key.as_ref(), Instant::now())
    }

    /// The same, by a clock that was read already.
    pub(crate) fn get_at(&self, key: &[u8], now: Instant) -> Option<Hit<V>> {
        self.with_key(key, |key| {
            let hit = self.fresh(key, now);
            let event = if hit.is_some() {
                Event::Hit { key }
            } else {
                Event::Miss { key }
            };
            self.inner.counters.emit(event);
            hit
        })
    }

    /// The same, and nobody hears of it.
    #[cfg(feature = "http")]
    pub(crate) fn peek(&self, key: &[u8], now: Instant) -> Option<Hit<V>> {
        self.with_key(key, |key| self.fresh(key, now))
    }

    fn fresh(&self, key: &[u8], now: Instant) -> Option<Hit<V>> {
        let (usable, entry, age) = self.look_up(key, now)?;
        (usable == Usable::Fresh).then_some(Hit {
            entry,
            state: State::Fresh,
            age,
        })
    }

    /// The value under `key`; if there is none, `fill` reads it from its source, once for all who ask at the same time.
    ///
    /// The fill says with `Ok(None)` that the source has no such value; nothing is stored then. When it fails, a stale value within its
    /// grace is served instead.
    ///
    /// # Cancellation
    ///
    /// Nothing happens before the first poll. Dropping the call while it fills drops the fill; one of those who wait for the
    /// same key then runs its own.
    pub fn get_or_set<F, Fut, E>(&self, key: impl AsRef<[u8]>, fill: F) -> GetOrSet<V, F, E>
    where
        F: FnOnce(Fill<V>) -> Fut,
        Fut: Future<Output = Result<Option<V>, E>>,
    {
        GetOrSet::new(
            self.clone(),
            self.with_key(key.as_ref(), |key| Arc::from(key)),
            fill,
        )
    }

    /// What is known of the clock now. Take it before reading the source, for [`Set::at`].
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.inner.clock.stamp()
    }

    /// Stores a value; does so when [`Set::store`] is called.
    pub fn set(&self, key: impl AsRef<[u8]>, value: V) -> Set<V> {
        Set {
            key: self.with_key(key.as_ref(), |key| Arc::from(key)),
            stamp: self.stamp(),
            cache: self.clone(),
            said: Said::default(),
            value,
        }
    }

    /// Takes the value under `key` away, and what depends on it.
    pub fn remove(&self, key: impl AsRef<[u8]>) {
        self.with_key(key.as_ref(), |key| {
            self.invalidate_slots([self.clock().slot(Name::Key(key))], Depth::Remove);
            self.inner.l1.remove(key);
        });
    }

    /// Makes the value under `key` stale, and what depends on it.
    pub fn expire(&self, key: impl AsRef<[u8]>) {
        self.with_key(key.as_ref(), |key| {
            self.invalidate_slots([self.clock().slot(Name::Key(key))], Depth::Expire);
        });
    }

    /// Makes everything with one of these tags stale, in every partition. When it returns, no call that begins later is served
    /// a value whose fill began before.
    ///
    /// Call it after the change is committed at the source.
    pub fn invalidate<T: AsRef<str>>(&self, tags: impl IntoIterator<Item = T>) {
        self.invalidate_tags(tags, Depth::Expire);
    }

    /// The same, as deeply as you choose.
    pub fn invalidate_tags<T: AsRef<str>>(&self, tags: impl IntoIterator<Item = T>, depth: Depth) {
        let slots = tags
            .into_iter()
            .map(|tag| self.clock().slot(Name::Tag(tag.as_ref())));
        self.invalidate_slots(slots, depth);
    }

    /// Takes everything away, in every partition.
    pub fn clear(&self) {
        self.inner.clock.clear();
        self.inner.l1.clear();
        self.inner.counters.emit(Event::Cleared);
    }

    /// A view whose keys are its own: a tenant's, a namespace's. Tags are shared by all partitions.
    #[must_use]
    pub fn partition(&self, name: impl AsRef<[u8]>) -> Self {
        // A hash that only this cache can make: no key of another partition, or of none, can be made to begin with it.
        let parent = self.partition.as_deref().unwrap_or_default();
        let half = |side: u8| {
            self.inner
                .partitions
                .hash_one((side, parent, name.as_ref()))
                .to_be_bytes()
        };
        let prefix = [half(0), half(1)].concat();
        Self {
            inner: Arc::clone(&self.inner),
            partition: Some(prefix.into()),
        }
    }

    /// How it is doing.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let (entries, weight) = self.inner.l1.size();
        let filling = self.inner.flights.snapshot().flights;
        Snapshot {
            entries,
            weight,
            filling,
            ..self.inner.counters.snapshot()
        }
    }

    pub(crate) fn flights(&self) -> &Flights<Arc<[u8]>, Filled<V>> {
        &self.inner.flights
    }

    pub(crate) fn emit(&self, event: Event<'_>) {
        self.inner.counters.emit(event);
    }

    fn invalidate_slots(&self, slots: impl IntoIterator<Item = Slot>, depth: Depth) {
        self.inner.clock.invalidate(slots, depth);
        self.inner.counters.emit(Event::Invalidated { depth });
    }

    pub(crate) fn look_up(
        &self,
        key: &[u8],
        now: Instant,
    ) -> Option<(Usable, Arc<Entry<V>>, Duration)> {
        let entry = self.inner.l1.get(key)?;
        let usable = entry.usable(&self.inner.clock, now);
        let age = now.saturating_duration_since(entry.stored);
        (usable != Usable::No).then_some((usable, entry, age))
    }

    pub(crate) fn store(
        &self,
        key: &Arc<[u8]>,
        value: V,
        stamp: Stamp,
        said: Said,
    ) -> Arc<Entry<V>> {
        let settings = &self.inner.settings;
        let mut slots = said.slots;
        slots.push(self.clock().slot(Name::Key(key)));
        // Nobody but its own caller may have a value that was outrun.
        let ttl = if said.outrun {
            Duration::ZERO
        } else {
            said.ttl.unwrap_or(settings.ttl)
        };
        let ttl = settings.jittered(ttl);
        let lifetime = Lifetime {
            ttl,
            grace: said.grace.unwrap_or(settings.grace),
        };
        let weight = settings.weigh(key, &value, slots.len());
        let slots = slots.into();
        let entry = Entry {
            value,
            stamp,
            slots,
            stored: Instant::now(),
            lifetime,
            weight,
        };
        let entry = Arc::new(entry);
        if said.outrun {
            return entry;
        }
        // Unconditionally: if something newer was stored meanwhile, the later of the two is read, and each is valid or not by its
        // own stamp.
        self.inner.l1.insert(Arc::clone(key), Arc::clone(&entry));
        entry
    }

    /// Runs `f` with the full key: borrowed, unless there is a partition.
    fn with_key<T>(&self, key: &[u8], f: impl FnOnce(&[u8]) -> T) -> T {
        match &self.partition {
            None => f(key),
            Some(partition) => f(&[partition, key].concat()),
        }
    }
}

impl<V> Cache<V> {
    pub(crate) fn clock(&self) -> &InvalidationClock {
        &self.inner.clock
    }
}

impl<V: Send + Sync + 'static> Cache<V> {
    /// The slots by which the value under `key` goes.
    pub(crate) fn slots_of(&self, key: &[u8]) -> Vec<Slot> {
        self.dependency(key).0
    }

    /// The same, and when that value was born, if there is one.
    pub(crate) fn dependency(&self, key: &[u8]) -> (Vec<Slot>, Option<Stamp>) {
        self.with_key(key, |key| match self.inner.l1.get(key) {
            Some(entry) => (entry.slots.to_vec(), Some(entry.stamp)),
            None => (vec![self.clock().slot(Name::Key(key))], None),
        })
    }
}

/// A value on its way into the cache; made by [`Cache::set`].
#[must_use = "nothing is stored before `store` is called"]
pub struct Set<V> {
    cache: Cache<V>,
    key: Arc<[u8]>,
    value: V,
    stamp: Stamp,
    said: Said,
}

impl<V: Send + Sync + 'static> Set<V> {
    /// Says when the value was read: a [`Cache::stamp`] taken before. Without it the value counts as read when
    /// [`Cache::set`] was called, and that is only as true as the caller makes it.
    pub fn at(self, stamp: Stamp) -> Self {
        Self { stamp, ..self }
    }

    /// How long it is fresh.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.said.ttl = Some(ttl);
        self
    }

    /// It goes when one of these is invalidated.
    pub fn tags<T: AsRef<str>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        let clock = self.cache.clock();
        tags.into_iter()
            .for_each(|tag| self.said.push(clock.slot(Name::Tag(tag.as_ref()))));
        self
    }

    /// It goes with the value under `key`.
    pub fn depends_on(mut self, key: impl AsRef<[u8]>) -> Self {
        let slots = self.cache.slots_of(key.as_ref());
        slots.into_iter().for_each(|slot| self.said.push(slot));
        self
    }

    /// Stores it.
    pub fn store(self) -> Hit<V> {
        let entry = self
            .cache
            .store(&self.key, self.value, self.stamp, self.said);
        Hit {
            entry,
            state: State::Filled,
            age: Duration::ZERO,
        }
    }
}

impl<V> Clone for Cache<V> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            partition: self.partition.clone(),
        }
    }
}

impl<V> fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

impl<V> fmt::Debug for Set<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Set")
            .field("stamp", &self.stamp)
            .finish_non_exhaustive()
    }
}
