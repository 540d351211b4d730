//! The data cache.

use std::fmt;
use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;

use buttress_dedup::Flights;
use buttress_wire::tasks::Tasks;
use tokio::time::Instant;

use crate::builder::Builder;
use crate::clock::{Depth, InvalidationClock, Name, Slot, Stamp};
use crate::counters::{Counters, Snapshot};
#[cfg(feature = "http")]
use crate::entry::Held;
use crate::entry::{Entry, Usable};
use crate::event::{Audience, Event};
use crate::fill::Fill;
use crate::get::{Get, GetMany};
use crate::get_or_set::GetOrSet;
use crate::guard::Guard;
use crate::hit::{Hit, State, Tier};
use crate::invalidate::{Clear, Invalidate};
use crate::l1::L1;
#[cfg(feature = "l2")]
use crate::l2::{SecondLevel, Shared};
use crate::reading::Filled;
use crate::set::Set;
use crate::settings::Settings;
use crate::told::Told;
use crate::view::{self, Kind, View};

/// A cache of values by key, with tags and dependencies, that never serves what was invalidated before the call began.
///
/// ```
/// use buttress_cache::Cache;
/// use std::time::Duration;
///
/// # tokio_test::block_on(async {
/// let products = Cache::<String>::builder().ttl(Duration::from_secs(60)).build();
/// let name = products
///     .get_or_set("product:42", |fill| async move {
///         fill.tag("category:7");
///         Ok::<_, std::io::Error>(Some("Lamp".to_owned()))
///     })
///     .await?
///     .expect("the source knows it");
/// assert_eq!(*name, "Lamp");
///
/// products.invalidate(["category:7"]).await?;
/// assert!(products.get("product:42").await.is_none());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
///
/// Cloning it costs one `Arc`, or two for a [`partition`](Self::partition) or [`namespace`](Self::namespace), which are views of the same cache: they
/// share its room, its settings and its observers.
///
/// What its methods give does nothing until it is awaited; `now` does the same at once, in this process, where nothing can be awaited.
pub struct Cache<V> {
    inner: Arc<Inner<V>>,
    view: Option<Arc<View>>,
}

struct Inner<V> {
    l1: Box<dyn L1<V>>,
    clock: Arc<InvalidationClock>,
    /// What processes share.
    #[cfg(feature = "l2")]
    below: Option<Shared<V>>,
    flights: Flights<Arc<[u8]>, Filled<V>>,
    settings: Settings<V>,
    counters: Arc<Counters>,
    tasks: Tasks,
}

impl<V: Send + Sync + 'static> Cache<V> {
    /// Chooses a cache's size and its defaults.
    pub fn builder() -> Builder<V> {
        Builder::new()
    }

    pub(crate) fn build(
        settings: Settings<V>,
        audience: Audience,
        tasks: Tasks,
        #[cfg(feature = "l2")] below: Option<SecondLevel<V>>,
    ) -> Self {
        // A waiter is a caller's own future: there are never more of them than callers.
        let flights = Flights::builder().max_waiters(NonZeroUsize::MAX);
        let flights = match settings.soft_timeout {
            Some(timeout) => flights.wait_timeout(timeout),
            None => flights,
        };
        let counters = Arc::new(Counters::new(audience));
        #[cfg(feature = "l2")]
        let (clock, below) = Shared::build(below, settings.slots, &counters);
        #[cfg(not(feature = "l2"))]
        let clock = Arc::new(InvalidationClock::new(settings.slots));
        let inner = Inner {
            l1: settings.memory.build(settings.max_weight),
            clock,
            #[cfg(feature = "l2")]
            below,
            flights: flights.build(),
            settings,
            counters,
            tasks,
        };
        Self {
            inner: Arc::new(inner),
            view: None,
        }
    }

    /// The value under `key`, if it is fresh.
    pub fn get<K: AsRef<[u8]>>(&self, key: K) -> Get<'_, K, V> {
        Get::new(self, key)
    }

    /// The values under `keys`, in their order, as far as they are fresh.
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> GetMany<'_, K, V> {
        GetMany::new(self, keys.into_iter().collect())
    }

    /// The value under `key`; if there is none, `fill` reads it from its source, once for all who ask at the same time.
    ///
    /// The fill says with `Ok(None)` that the source has no such value; that is remembered for the [`negative_ttl`](Builder::negative_ttl). When it
    /// fails, by an error, a panic or a timeout, a stale value within its grace is served instead. See [`GetOrSet`] for what else can be said of the
    /// call, and [`Fill`] for what the fill can say.
    pub fn get_or_set<K, F, Fut, E>(&self, key: K, fill: F) -> GetOrSet<'_, K, V, F, E>
    where
        K: AsRef<[u8]>,
        F: FnOnce(Fill<V>) -> Fut,
        Fut: Future<Output = Result<Option<V>, E>>,
    {
        GetOrSet::new(self, key, fill)
    }

    /// What is known of the clock now. Take it before reading the source, for [`Set::at`].
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.inner.clock.stamp()
    }

    /// Stores a value that was read without [`get_or_set`](Self::get_or_set).
    pub fn set(&self, key: impl AsRef<[u8]>, value: V) -> Set<'_, V> {
        Set::new(self, self.full(key.as_ref()), value)
    }

    /// The same under a key that is shared already, and is not copied where this is no part of a cache.
    #[cfg(feature = "http")]
    pub(crate) fn set_shared(&self, key: &Arc<[u8]>, value: V) -> Set<'_, V> {
        // What goes before it makes a full key longer.
        let full = self.with_full(key, |full| {
            (full.len() > key.len()).then(|| Arc::from(full))
        });
        Set::new(self, full.unwrap_or_else(|| Arc::clone(key)), value)
    }

    /// Takes the value under `key` away, and what depends on it.
    pub fn remove(&self, key: impl AsRef<[u8]>) -> Invalidate<'_, V> {
        Invalidate::key(self, self.full(key.as_ref())).remove()
    }

    /// Makes the value under `key` stale, and what depends on it.
    pub fn expire(&self, key: impl AsRef<[u8]>) -> Invalidate<'_, V> {
        Invalidate::key(self, self.full(key.as_ref()))
    }

    /// Makes everything with one of these tags stale. When it is done, no call that begins later is served a value whose fill began before.
    ///
    /// Call it after the change is committed at the source.
    pub fn invalidate<T: AsRef<str>>(
        &self,
        tags: impl IntoIterator<Item = T>,
    ) -> Invalidate<'_, V> {
        Invalidate::tags(
            self,
            tags.into_iter().map(|tag| self.tag_slot(tag.as_ref())),
        )
    }

    /// Takes everything away: all that is in this view and in those within it, or all that there is.
    ///
    /// It is invalid at once. Where it is all, its memory is freed before this is done, which takes some 200 ns for each entry.
    pub fn clear(&self) -> Clear<'_, V> {
        Clear::new(self)
    }

    /// Until the guard is dropped nothing with one of these tags can be stored, and what was read while it lived never is: for a transaction whose end is
    /// not known yet, or a database whose replicas lag. What is stored already stays: [`invalidate`](Self::invalidate) it when the change is committed.
    ///
    /// ```
    /// # use buttress_cache::Cache;
    /// # tokio_test::block_on(async {
    /// # let products = Cache::<u32>::builder().build();
    /// let guard = products.guard(["category:7"]);
    /// // Changes what has the tag, and commits.
    /// products.invalidate(["category:7"]).await?;
    /// drop(guard);
    /// # Ok::<_, buttress_cache::InvalidateError>(()) }).unwrap();
    /// ```
    ///
    /// It holds in this process. The fill's own caller has its value all the same: it began before the change was done.
    pub fn guard<T: AsRef<str>>(&self, tags: impl IntoIterator<Item = T>) -> Guard<V> {
        Guard::new(
            self,
            tags.into_iter().map(|tag| self.tag_slot(tag.as_ref())),
        )
    }

    /// A view whose keys are its own: a tenant's, say. Its tags are those of the view it is made from, so that what all tenants share can be
    /// invalidated for all.
    #[must_use]
    pub fn partition(&self, name: impl AsRef<[u8]>) -> Self {
        self.within(Kind::Partition, name.as_ref())
    }

    /// A view whose keys and tags are its own.
    #[must_use]
    pub fn namespace(&self, name: impl AsRef<[u8]>) -> Self {
        self.within(Kind::Namespace, name.as_ref())
    }

    /// How it is doing.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let (entries, weight) = self.inner.l1.size();
        Snapshot {
            entries,
            weight,
            clock: self.inner.clock.bytes() as u64,
            filling: self.inner.flights.snapshot().flights,
            background: self.inner.tasks.running(),
            #[cfg(feature = "l2")]
            lag: self.below().and_then(Shared::lag),
            #[cfg(feature = "l2")]
            untold: self.below().map_or(0, Shared::untold),
            ..self.inner.counters.snapshot()
        }
    }

    /// Waits until nothing of this cache runs in the background: fills that lost their caller, refreshes, and invalidations that are to come again; and until other processes were told of
    /// what was invalidated here. For a shutdown; put a timeout around it, and around whatever else is waited for there, to have a deadline.
    ///
    /// # Cancellation
    ///
    /// Dropping it changes nothing: the tasks go on.
    pub async fn drain(&self) {
        self.inner.tasks.drain().await;
        #[cfg(feature = "l2")]
        if let Some(below) = self.below() {
            below.all_told().await;
        }
    }

    fn within(&self, kind: Kind, name: &[u8]) -> Self {
        let view = View::new(self.view(), kind, name, &self.inner.clock);
        Self {
            inner: Arc::clone(&self.inner),
            view: Some(Arc::new(view)),
        }
    }
}

/// Looking up.
impl<V: Send + Sync + 'static> Cache<V> {
    /// The value under `key`, by a clock that was read already.
    pub(crate) fn get_at(&self, key: &[u8], now: Instant) -> Option<Hit<V>> {
        self.with_full(key, |full| match self.look_up(full, now) {
            Some(found) if found.usable == Usable::Fresh => {
                self.tell_hit(full);
                found.hit(State::Fresh)
            }
            _ => {
                self.tell(|key| Event::Miss { key }, full);
                None
            }
        })
    }

    /// The same, and nobody hears of it.
    #[cfg(feature = "http")]
    pub(crate) fn peek(&self, key: &[u8], now: Instant) -> Option<Hit<V>> {
        self.with_full(key, |full| {
            let found = self.look_up(full, now)?;
            (found.usable == Usable::Fresh).then(|| found.hit(State::Fresh))?
        })
    }

    /// The same, of what has a value, without saying how it was found.
    #[cfg(feature = "http")]
    pub(crate) fn peek_entry(&self, key: &[u8], now: Instant) -> Option<Arc<Entry<V>>> {
        self.with_full(key, |full| {
            let found = self.look_up(full, now)?;
            let is_one = found.usable == Usable::Fresh && found.entry.value().is_some();
            is_one.then_some(found.entry)
        })
    }

    /// Whether anything is under a key, fresh or not. Does not count as a use for eviction.
    #[cfg(feature = "http")]
    pub(crate) fn has(&self, key: &[u8]) -> bool {
        self.with_full(key, |full| self.inner.l1.has(full))
    }

    /// Puts what was found under another key too. It goes with all that it went with, and is as old.
    #[cfg(feature = "http")]
    pub(crate) fn copy_to(&self, key: &[u8], found: &Hit<V>)
    where
        V: Clone,
    {
        let (full, of) = (self.full(key), found.entry());
        let mut slots = of.slots.clone();
        if !slots.push(self.clock().slot(Name::Key(&full))) {
            return;
        }
        let held = Held::Own(V::clone(found));
        let mut entry = Entry::new(held, of.stamp, slots, of.stored, of.lifetime);
        entry.weight = self.settings().weigh(&full, entry.value(), &entry.slots);
        let entry = Arc::new(entry);
        self.keep(&full, &entry);
        self.give_later(&full, &entry);
    }

    /// Whether there is a level that other processes share.
    #[cfg(feature = "http")]
    pub(crate) fn is_shared(&self) -> bool {
        #[cfg(feature = "l2")]
        return self.below().is_some();
        #[cfg(not(feature = "l2"))]
        false
    }

    /// Gives an entry to the other processes, if there are any, in the background.
    #[cfg(feature = "http")]
    pub(crate) fn give_later(&self, full: &Arc<[u8]>, entry: &Arc<Entry<V>>) {
        #[cfg(feature = "l2")]
        if let Some(giving) = self.below().and_then(Shared::giving) {
            let (cache, full) = (self.clone(), Arc::clone(full));
            let place = crate::keyed::Keyed { cache, full };
            let entry = Arc::clone(entry);
            self.tasks().spawn(async move {
                place.give_below(&entry, None).await;
                drop(giving);
            });
        }
        #[cfg(not(feature = "l2"))]
        let _ = (full, entry);
    }

    /// Whether what is held here is known not to have been removed by another process.
    pub(crate) fn is_trusted(&self, now: Instant) -> bool {
        #[cfg(feature = "l2")]
        return self.below().is_none_or(|below| below.is_trusted(now));
        #[cfg(not(feature = "l2"))]
        {
            let _ = now;
            true
        }
    }

    /// Whether what was begun at `begun` is no older than what somebody who asks at `asked` must know of, whatever other processes have invalidated.
    #[cfg(feature = "http")]
    pub(crate) fn covers(&self, begun: Instant, asked: Instant) -> bool {
        #[cfg(feature = "l2")]
        return self.below().is_none_or(|below| {
            below.covers(Some(begun), asked) || below.is_trusted(Instant::now())
        });
        #[cfg(not(feature = "l2"))]
        {
            let _ = (begun, asked);
            true
        }
    }

    pub(crate) fn look_up(&self, full: &[u8], now: Instant) -> Option<Found<V>> {
        let entry = self.inner.l1.get(full)?;
        if !self.is_trusted(now) {
            return None;
        }
        let usable = entry.usable(&self.inner.clock, now);
        (usable != Usable::No).then_some(Found { usable, entry, now })
    }

    /// The slots by which the value under `key` goes, and when that value was born, if there is one.
    pub(crate) fn dependency(&self, key: &[u8]) -> (Vec<Slot>, Option<Stamp>) {
        self.with_full(key, |full| match self.inner.l1.get(full) {
            Some(entry) => (entry.slots.as_slice().to_vec(), Some(entry.stamp)),
            None => (vec![self.clock().slot(Name::Key(full))], None),
        })
    }

    /// Calls with the full key.
    pub(crate) fn with_full<T>(&self, key: &[u8], f: impl FnOnce(&[u8]) -> T) -> T {
        view::with_full(self.view(), key, f)
    }

    pub(crate) fn full(&self, key: &[u8]) -> Arc<[u8]> {
        self.with_full(key, |full| Arc::from(full))
    }

    pub(crate) fn l1(&self) -> &dyn L1<V> {
        &*self.inner.l1
    }

    pub(crate) fn flights(&self) -> &Flights<Arc<[u8]>, Filled<V>> {
        &self.inner.flights
    }

    pub(crate) fn invalidate_slots(&self, slots: &[Slot], depth: Depth) -> Option<Told> {
        let told = self.take_away(slots, depth);
        self.emit(Event::Invalidated { depth });
        told
    }

    pub(crate) fn clear_all(&self) -> Option<Told> {
        let told = match self.view() {
            Some(view) => self.take_away(&[view.own_slot()], Depth::Remove),
            None => {
                self.inner.clock.clear();
                self.inner.l1.clear();
                self.to_others(|| Told::All)
            }
        };
        self.emit(Event::Cleared);
        told
    }

    fn take_away(&self, slots: &[Slot], depth: Depth) -> Option<Told> {
        let done = self.inner.clock.invalidate(slots.iter().copied(), depth);
        self.to_others(|| match done {
            true => Told::Slots(depth, slots.to_vec()),
            false => Told::All,
        })
    }
}

impl<V> Cache<V> {
    pub(crate) fn clock(&self) -> &InvalidationClock {
        &self.inner.clock
    }

    #[cfg(feature = "l2")]
    pub(crate) fn below(&self) -> Option<&Shared<V>> {
        self.inner.below.as_ref()
    }

    /// `None` where there are no others.
    pub(crate) fn to_others(&self, told: impl FnOnce() -> Told) -> Option<Told> {
        #[cfg(feature = "l2")]
        return self.below().map(|_| told());
        #[cfg(not(feature = "l2"))]
        {
            let _ = told;
            None
        }
    }

    /// What holds here is to hold in other processes, where there are any.
    pub(crate) fn tell_others_later(&self, told: Option<Told>) {
        #[cfg(feature = "l2")]
        if let (Some(below), Some(told)) = (self.below(), told) {
            below.tell_others_later(told);
        }
        #[cfg(not(feature = "l2"))]
        let _ = told;
    }

    /// Lets the shared clock take a step, unless there is one to be taken anyway: this process counts from there then. It costs what has this slot.
    pub(crate) fn take_a_step(&self, slot: Slot) {
        #[cfg(feature = "l2")]
        if let Some(below) = self.below().filter(|below| below.untold() == 0) {
            below.tell_others_later(Told::Slots(Depth::Expire, vec![slot]));
        }
        #[cfg(not(feature = "l2"))]
        let _ = slot;
    }

    pub(crate) fn settings(&self) -> &Settings<V> {
        &self.inner.settings
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.inner.tasks
    }

    pub(crate) fn view(&self) -> Option<&View> {
        self.view.as_deref()
    }

    pub(crate) fn tag_slot(&self, tag: &str) -> Slot {
        let space = self.view().map_or(&[][..], View::space);
        self.inner.clock.slot(Name::Tag { space, tag })
    }

    pub(crate) fn emit(&self, event: Event<'_>) {
        self.inner.counters.tell(event);
    }

    /// Tells of what is about a key.
    pub(crate) fn tell<'a>(&self, event: impl FnOnce(&'a [u8]) -> Event<'a>, full: &'a [u8]) {
        self.emit(event(view::own(self.view(), full)));
    }

    pub(crate) fn tell_hit(&self, full: &[u8]) {
        let tier = Tier::Memory;
        self.tell(|key| Event::Hit { key, tier }, full);
    }
}

/// What a look-up has found, and may be used in some way.
pub(crate) struct Found<V> {
    pub(crate) usable: Usable,
    pub(crate) entry: Arc<Entry<V>>,
    pub(crate) now: Instant,
}

impl<V> Found<V> {
    /// `None` when the entry stands for a value that the source does not have.
    pub(crate) fn hit(self, state: State) -> Option<Hit<V>> {
        Hit::new(self.entry, state, self.now)
    }
}

impl<V> Clone for Cache<V> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            view: self.view.clone(),
        }
    }
}

impl<V> fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}
