//! One breaker per key, in bounded memory.

mod layer;
mod shelf;

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

pub use layer::{Keyed, KeyedCircuit, KeyedCircuitLayer};

use self::shelf::{Fate, Shelf};
use crate::breaker::Breaker;
use crate::clock::nanos;
use crate::event::Event;
use crate::machine::State;
use crate::name::Name;
use crate::sync::{Mutex, MutexGuard};

/// A breaker per key: per host, tenant or route. Clones share them: cloning costs one reference count.
///
/// The breakers are made of a model, with its settings and observer, when their key is first asked for.
///
/// # Bounds
///
/// There are never more than [`capacity`](BreakersBuilder::capacity) of them, 1024 if nothing is said. When there is no room for a new key, the least recently
/// used breaker goes of those that are closed and that nobody holds, no permit and no clone; if there is none, of those that nobody holds and whose open
/// time is over, or which have opened so lately that their next opening would be longer. A breaker that is open goes never before its time is over, and one that was told its state
/// by an operator never. So a breaker that is gone has forgotten nothing but the counts of a closed one; or, where there was nothing better, that a probe was due, or its back-off.
///
/// If none may go, the new key is served by one [`overflow`](Self::overflow) breaker, which all such keys share until there is room. That is told by
/// [`Event::Overflow`], once each time that it begins.
///
/// From 512 breakers on the room is divided evenly among up to 16 parts by the hash of the key, each with a lock of its own that is held for a look-up
/// alone, and each of which evicts for itself. A search for one that may go looks at no more than 1024 breakers and
/// goes on from there the next time.
///
/// ```
/// use buttress_circuit::{Breaker, Breakers, State, consecutive};
///
/// let model = Breaker::builder("upstream").trip(consecutive(1)).build()?;
/// let breakers = Breakers::<String>::new(model);
/// breakers.get("a.example").try_acquire()?.failure();
/// assert_eq!(breakers.get("a.example").state(), State::Open);
/// assert_eq!(breakers.get("b.example").state(), State::Closed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Breakers<K>(Arc<Inner<K>>);

struct Inner<K> {
    model: Breaker,
    overflow: Breaker,
    name: Option<Box<dyn Fn(&K) -> Name + Send + Sync>>,
    /// In nanoseconds. For ever, if that is the most there is.
    idle: u64,
    capacity: usize,
    hasher: RandomState,
    /// A power of two of them.
    parts: Box<[Part<K>]>,
}

struct Part<K> {
    shelf: Mutex<Shelf<K, Kept>>,
    /// The last key that came found no room.
    overflowing: AtomicBool,
}

#[derive(Debug)]
struct Kept {
    breaker: Breaker,
    /// On the clock of the model. Zero where nobody asks.
    used: u64,
}

/// How many a search looks at: mostly at one, since what is closed and was not used for long comes first.
const LOOKED_AT: usize = 1024;
/// How many that are idle go at once.
const SWEPT: usize = 64;
/// A part has room for at least so many.
const PART: usize = 256;
const MAX_PARTS: usize = 16;
const FOR_EVER: u64 = u64::MAX;

impl<K> Breakers<K> {
    /// Breakers like `model`, up to 1024, all with its name.
    #[must_use]
    pub fn new(model: Breaker) -> Self {
        Self::builder(model).build()
    }

    /// Breakers like `model`, with a choice.
    pub fn builder(model: Breaker) -> BreakersBuilder<K> {
        BreakersBuilder {
            model,
            capacity: const { NonZeroUsize::new(1024).unwrap() },
            idle: FOR_EVER,
            name: None,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0
            .parts
            .iter()
            .map(|part| lock(&part.shelf).len())
            .sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many there may be.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.0.capacity
    }

    /// The breaker of the keys for which there is no room. Its name is that of the model with `/overflow` behind it.
    #[must_use]
    pub fn overflow(&self) -> &Breaker {
        &self.0.overflow
    }

    /// All keys with their breakers, for people and dashboards. Nothing counts as used by this.
    #[must_use]
    pub fn all(&self) -> Vec<(K, Breaker)>
    where
        K: Clone,
    {
        let mut all = Vec::new();
        for part in &self.0.parts {
            let shelf = lock(&part.shelf);
            all.extend(
                shelf
                    .iter()
                    .map(|(key, kept)| (key.clone(), kept.breaker.clone())),
            );
        }
        all
    }

    fn now(&self) -> u64 {
        if self.0.idle == FOR_EVER {
            0
        } else {
            self.0.model.now()
        }
    }

    fn part(&self, hash: u64) -> (&Part<K>, usize) {
        let parts = self.0.parts.len();
        // The map takes the bits at both ends.
        let part = (hash >> 32) as usize & (parts - 1);
        let room = self.0.capacity / parts + usize::from(part < self.0.capacity % parts);
        (&self.0.parts[part], room)
    }

    fn make(&self, key: &K) -> Breaker {
        match &self.0.name {
            Some(name) => self.0.model.fresh_untold(name(key)),
            None => self.0.model.fresh_untold(self.0.model.name().clone()),
        }
    }

    fn overflown(&self, part: &Part<K>) -> Breaker {
        let overflow = &self.0.overflow;
        if !part.overflowing.swap(true, Ordering::AcqRel) {
            overflow.tell_aside(&Event::Overflow(overflow));
        }
        overflow.clone()
    }
}

impl<K: Hash + Eq> Breakers<K> {
    /// The breaker of `key`, made now if there is none.
    pub fn get<Q>(&self, key: &Q) -> Breaker
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let (hash, now) = (self.0.hasher.hash_one(key), self.now());
        let known = self.touch(hash, key, now);
        known.unwrap_or_else(|| self.add(hash, key.to_owned(), now))
    }

    /// The breaker of `key`, if there is one.
    pub fn find<Q>(&self, key: &Q) -> Option<Breaker>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.touch(self.0.hasher.hash_one(key), key, self.now())
    }

    fn touch<Q>(&self, hash: u64, key: &Q, now: u64) -> Option<Breaker>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let mut shelf = lock(&self.part(hash).0.shelf);
        let kept = shelf.touch(hash, |known| known.borrow() == key)?;
        kept.used = now;
        Some(kept.breaker.clone())
    }

    fn add(&self, hash: u64, key: K, now: u64) -> Breaker {
        // Names and clocks of the user's must not run under the lock, and neither must what is dropped here be.
        let (made, judged_at) = (self.make(&key), self.0.model.now());
        let (part, room) = self.part(hash);
        let mut gone = Vec::new();
        let mut shelf = lock(&part.shelf);
        if let Some(kept) = shelf.touch(hash, |known| *known == key) {
            return kept.breaker.clone();
        }
        let is_stale = |kept: &Kept| kept.is_stale(now, self.0.idle);
        gone.extend(std::iter::from_fn(|| shelf.pop_oldest(is_stale)).take(SWEPT));
        if shelf.len() == room {
            gone.extend(shelf.evict(LOOKED_AT, |kept| kept.fate(judged_at)));
        }
        let has_room = shelf.len() < room;
        if has_room {
            let breaker = made.clone();
            shelf.insert(hash, key, Kept { breaker, used: now });
        }
        drop(shelf);
        for (_, Kept { breaker, .. }) in gone {
            breaker.tell_aside(&Event::Evicted(&breaker));
        }
        if !has_room {
            return self.overflown(part);
        }
        part.overflowing.store(false, Ordering::Release);
        made.tell_built();
        made
    }
}

impl<K> Part<K> {
    fn new() -> Self {
        Self {
            shelf: Mutex::new(Shelf::new()),
            overflowing: AtomicBool::new(false),
        }
    }
}

impl Kept {
    /// Whoever holds a breaker has got it from here: while the lock is held, nobody can begin to.
    fn is_held(&self) -> bool {
        Arc::strong_count(&self.breaker.0) > 1
    }

    fn fate(&self, now: u64) -> Fate {
        match self.breaker.state_at(self.breaker.word(), now) {
            _ if self.is_held() => Fate::Stay,
            State::Closed if self.is_recovering(now) => Fate::May,
            State::Closed => Fate::Go,
            State::HalfOpen => Fate::May,
            _ => Fate::Stay,
        }
    }

    /// It has opened of late: its load is growing still, or the next opening would be longer.
    fn is_recovering(&self, now: u64) -> bool {
        let (openings, closed_for) = self.breaker.control().history(now);
        let quiet = self.breaker.config().settings.backoff.quiet();
        openings > 0 && closed_for < quiet || !self.breaker.word().passes()
    }

    fn is_stale(&self, now: u64, idle: u64) -> bool {
        let is_closed = self.breaker.word().state() == State::Closed;
        is_closed && !self.is_held() && now.saturating_sub(self.used) >= idle
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K> Clone for Breakers<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> fmt::Debug for Breakers<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breakers")
            .field("model", &self.0.model)
            .field("len", &self.len())
            .field("capacity", &self.0.capacity)
            .finish_non_exhaustive()
    }
}

/// Builds [`Breakers`].
#[must_use = "a builder builds nothing until it is told to"]
pub struct BreakersBuilder<K> {
    model: Breaker,
    capacity: NonZeroUsize,
    idle: u64,
    name: Option<Box<dyn Fn(&K) -> Name + Send + Sync>>,
}

impl<K> BreakersBuilder<K> {
    /// How many there may be at most. Default: 1024.
    pub fn capacity(mut self, capacity: NonZeroUsize) -> Self {
        self.capacity = capacity;
        self
    }

    /// Lets closed ones go that nobody has asked for or held for so long, when room is made for a new key. Default: they stay as long as there is room.
    pub fn idle(mut self, time: Duration) -> Self {
        self.idle = nanos(time);
        self
    }

    /// The name of each breaker, by its key. Default: that of the model. Names are told in events and metrics: think of how many
    /// there will be.
    pub fn named_by<N: Into<Name>>(
        mut self,
        name: impl Fn(&K) -> N + Send + Sync + 'static,
    ) -> Self {
        self.name = Some(Box::new(move |key| name(key).into()));
        self
    }

    /// Builds them: none as yet.
    #[must_use]
    pub fn build(self) -> Breakers<K> {
        let capacity = self.capacity.get().min(u32::MAX as usize - 1);
        let parts = (capacity / PART).clamp(1, MAX_PARTS);
        let parts = 1 << parts.ilog2();
        let overflow = self
            .model
            .fresh_as(format!("{}/overflow", self.model.name()));
        Breakers(Arc::new(Inner {
            overflow,
            name: self.name,
            idle: self.idle,
            capacity,
            hasher: RandomState::new(),
            parts: (0..parts).map(|_| Part::new()).collect(),
            model: self.model,
        }))
    }
}

impl<K> fmt::Debug for BreakersBuilder<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakersBuilder")
            .field("model", &self.model)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}
