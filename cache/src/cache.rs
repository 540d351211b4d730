//! The data cache.

use std::any::Any;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::hash::{BuildHasher, RandomState};
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use buttress_dedup::{Flights, Leader, Role, Waited};
use tokio::time::Instant;

use crate::builder::{Builder, Settings};
use crate::counters::Counters;
use crate::entry::{Entry, Hit, Lifetime, State, Usable};
use crate::error::FillError;
use crate::event::{Event, Snapshot};
use crate::fill::{Fill, Said};
use crate::invalidation::{Depth, InvalidationClock, Name, Slot, Stamp, Validity};
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

/// What a fill came to, for those who waited for it.
#[derive(Debug)]
enum Filled<V> {
    Failed(Arc<dyn Any + Send + Sync>),
    Nothing(Stamp),
    Value(Arc<Entry<V>>),
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
        GetOrSet {
            key: self.with_key(key.as_ref(), |key| Arc::from(key)),
            cache: self.clone(),
            said: Said::default(),
            fill,
            error: PhantomData,
        }
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

    pub(crate) fn emit(&self, event: Event<'_>) {
        self.inner.counters.emit(event);
    }

    fn invalidate_slots(&self, slots: impl IntoIterator<Item = Slot>, depth: Depth) {
        self.inner.clock.invalidate(slots, depth);
        self.inner.counters.emit(Event::Invalidated { depth });
    }

    fn look_up(&self, key: &[u8], now: Instant) -> Option<(Usable, Arc<Entry<V>>, Duration)> {
        let entry = self.inner.l1.get(key)?;
        let usable = entry.usable(&self.inner.clock, now);
        let age = now.saturating_duration_since(entry.stored);
        (usable != Usable::No).then_some((usable, entry, age))
    }

    fn store(&self, key: &Arc<[u8]>, value: V, stamp: Stamp, said: Said) -> Arc<Entry<V>> {
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

/// A look-up that fills; made by [`Cache::get_or_set`]. Await it.
#[must_use = "nothing is looked up before this is awaited"]
pub struct GetOrSet<V, F, E> {
    cache: Cache<V>,
    key: Arc<[u8]>,
    said: Said,
    fill: F,
    error: PhantomData<fn() -> E>,
}

impl<V: Send + Sync + 'static, F, E> GetOrSet<V, F, E> {
    /// How long a filled value is fresh, if the fill does not say.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.said.ttl = Some(ttl);
        self
    }

    /// A filled value goes when one of these is invalidated.
    pub fn tags<T: AsRef<str>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        let clock = self.cache.clock();
        tags.into_iter()
            .for_each(|tag| self.said.push(clock.slot(Name::Tag(tag.as_ref()))));
        self
    }
}

impl<V, F, Fut, E> IntoFuture for GetOrSet<V, F, E>
where
    V: Send + Sync + 'static,
    F: FnOnce(Fill<V>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Option<V>, E>> + Send + 'static,
    E: Send + Sync + 'static,
{
    type Output = Result<Option<Hit<V>>, FillError<E>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// How often a follower may find that what it waited for began too early for it, before it fills for itself alone.
const MAX_FLIGHTS: usize = 3;

impl<V, F, Fut, E> GetOrSet<V, F, E>
where
    V: Send + Sync + 'static,
    F: FnOnce(Fill<V>) -> Fut,
    Fut: Future<Output = Result<Option<V>, E>>,
    E: Send + Sync + 'static,
{
    async fn run(self) -> Result<Option<Hit<V>>, FillError<E>> {
        let inner = Arc::clone(&self.cache.inner);
        let asked = self.cache.stamp();
        for _ in 0..MAX_FLIGHTS {
            let stale = match self.cache.look_up(&self.key, Instant::now()) {
                Some((Usable::Fresh, entry, age)) => {
                    inner.counters.emit(Event::Hit { key: &self.key });
                    return Ok(Some(Hit {
                        entry,
                        state: State::Fresh,
                        age,
                    }));
                }
                found => found,
            };
            inner.counters.emit(Event::Miss { key: &self.key });
            let filled = match inner.flights.join(Arc::clone(&self.key)) {
                Role::Leader(leader) => return self.lead(leader, stale).await,
                Role::Full => return self.fill_alone(stale).await,
                Role::Landed(filled) => filled,
                Role::Follower(wait) => {
                    inner.counters.emit(Event::Joined { key: &self.key });
                    match wait.await {
                        Waited::Promoted(leader) => return self.lead(leader, stale).await,
                        Waited::TimedOut => return self.fill_alone(stale).await,
                        Waited::Value(filled) => filled,
                    }
                }
            };
            if let Some(result) = self.accept(filled, stale, asked) {
                return result;
            }
        }
        self.fill_alone(None).await
    }

    /// Fills for everyone who waits. If it is dropped, its fill is dropped first, and then somebody else leads.
    async fn lead(
        self,
        leader: Leader<Arc<[u8]>, Filled<V>>,
        stale: Option<(Usable, Arc<Entry<V>>, Duration)>,
    ) -> Result<Option<Hit<V>>, FillError<E>> {
        // Someone may have filled it between our look and our lead.
        if let Some((Usable::Fresh, entry, age)) = self.cache.look_up(&self.key, Instant::now()) {
            leader.complete(Filled::Value(Arc::clone(&entry)));
            return Ok(Some(Hit {
                entry,
                state: State::Fresh,
                age,
            }));
        }
        let cache = self.cache.clone();
        let key = Arc::clone(&self.key);
        let (result, stamp) = self.fill(&stale).await;
        let filled = match &result {
            Ok(Some(hit)) => Filled::Value(Arc::clone(&hit.entry)),
            Ok(None) => Filled::Nothing(stamp),
            Err(error) => Filled::Failed(Arc::clone(&error.0) as Arc<dyn Any + Send + Sync>),
        };
        leader.complete(filled);
        or_stale(&cache, &key, result, stale)
    }

    async fn fill_alone(
        self,
        stale: Option<(Usable, Arc<Entry<V>>, Duration)>,
    ) -> Result<Option<Hit<V>>, FillError<E>> {
        let cache = self.cache.clone();
        let key = Arc::clone(&self.key);
        let (result, _) = self.fill(&stale).await;
        or_stale(&cache, &key, result, stale)
    }

    async fn fill(
        self,
        stale: &Option<(Usable, Arc<Entry<V>>, Duration)>,
    ) -> (Result<Option<Hit<V>>, FillError<E>>, Stamp) {
        let stale = stale.as_ref().map(|(_, entry, age)| Hit {
            entry: Arc::clone(entry),
            state: State::Stale,
            age: *age,
        });
        // Before the source is read: this is what makes a late fill harmless.
        let stamp = self.cache.stamp();
        let fill = Fill::new(&self.cache, stale, self.said, stamp);
        let result = (self.fill)(fill.clone()).await;
        let key = &self.key;
        self.cache.emit(if result.is_ok() {
            Event::Filled { key }
        } else {
            Event::FillFailed { key }
        });
        let result = result
            .map_err(|error| FillError(Arc::new(error)))
            .map(|value| {
                let entry = self.cache.store(key, value?, stamp, fill.said());
                Some(Hit {
                    entry,
                    state: State::Filled,
                    age: Duration::ZERO,
                })
            });
        (result, stamp)
    }

    /// What a follower makes of somebody else's fill. `None` when it may not be used: it began before something that this call
    /// must not miss, or failed with an error of another type.
    fn accept(
        &self,
        filled: Filled<V>,
        stale: Option<(Usable, Arc<Entry<V>>, Duration)>,
        asked: Stamp,
    ) -> Option<Result<Option<Hit<V>>, FillError<E>>> {
        let clock = self.cache.clock();
        // Nothing was invalidated between this call and that fill: whatever has happened since, it is no older than its answer may be.
        let current = |stamp: Stamp| stamp.epoch == asked.epoch && stamp.born >= asked.born;
        match filled {
            Filled::Value(entry) => {
                let now = Instant::now();
                let fresh = current(entry.stamp) || entry.usable(clock, now) == Usable::Fresh;
                let age = now.saturating_duration_since(entry.stored);
                fresh.then_some(Ok(Some(Hit {
                    entry,
                    state: State::Filled,
                    age,
                })))
            }
            Filled::Nothing(stamp) => {
                let slot = clock.slot(Name::Key(&self.key));
                let valid = current(stamp) || clock.check(stamp, &[slot]) == Validity::Valid;
                valid.then_some(Ok(None))
            }
            Filled::Failed(error) => {
                let error = FillError(error.downcast::<E>().ok()?);
                Some(or_stale(&self.cache, &self.key, Err(error), stale))
            }
        }
    }
}

/// A stale value within its grace is better than an error.
fn or_stale<V: Send + Sync + 'static, E>(
    cache: &Cache<V>,
    key: &Arc<[u8]>,
    result: Result<Option<Hit<V>>, FillError<E>>,
    stale: Option<(Usable, Arc<Entry<V>>, Duration)>,
) -> Result<Option<Hit<V>>, FillError<E>> {
    // Looked at again: it may have been removed while the source was asked.
    let usable = |entry: &Arc<Entry<V>>| entry.usable(cache.clock(), Instant::now()) != Usable::No;
    match (result, stale) {
        (Err(_), Some((_, entry, age))) if usable(&entry) => {
            cache.emit(Event::ServedStale { key });
            Ok(Some(Hit {
                entry,
                state: State::Stale,
                age,
            }))
        }
        (result, _) => result,
    }
}

impl<V> Clone for Filled<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(Arc::clone(error)),
            Self::Nothing(stamp) => Self::Nothing(*stamp),
            Self::Value(entry) => Self::Value(Arc::clone(entry)),
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

impl<V, F, E> fmt::Debug for GetOrSet<V, F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetOrSet")
            .field("said", &self.said)
            .finish_non_exhaustive()
    }
}
