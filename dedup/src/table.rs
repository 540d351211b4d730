//! What is in flight, in parts with a lock each.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use hashbrown::HashTable;
use tokio::time::Instant;

use crate::builder::Limits;
use crate::event::{Audience, Event};
use crate::flights::Snapshot;
use crate::line::Line;
use crate::sync::{Mutex, MutexGuard, lock};

/// Enough that two threads seldom meet, few enough that an idle table is small.
pub(crate) const SHARDS: usize = 16;

/// The flights by key. Where somebody stands in it is said by a [`Place`].
pub(crate) struct Table<K, V> {
    parts: [Arc<Part<K, V>>; SHARDS],
    hasher: RandomState,
}

/// What flies under a sixteenth of the hashes. Whoever leads or waits holds this and not the table: two threads on two keys then seldom touch
/// the same count of references, which would cost each of them more than all the rest.
///
/// On cache lines of its own, for the same reason.
#[repr(align(64))]
pub(crate) struct Part<K, V> {
    shard: Mutex<Shard<K, V>>,
    limits: Limits,
    audience: Audience,
    promoted: AtomicU64,
    timed_out: AtomicU64,
}

struct Shard<K, V> {
    flights: HashTable<Entry<K, V>>,
    /// Counted here, where it costs no more than an addition under a lock that is held anyway.
    led: u64,
    joined: u64,
    full: u64,
}

struct Entry<K, V> {
    key: K,
    place: Place,
    /// Made when the first follower comes.
    line: Option<Arc<Line<V>>>,
    /// What newcomers get at once; see [`Leader::land`](crate::Leader::land).
    landed: Option<Landed<V>>,
    joinable: bool,
    /// `None` is for ever.
    joinable_until: Option<Instant>,
}

/// Where a flight is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    hash: u64,
    /// Never used again in its part of the table: a late hand cannot touch a newer flight of the same key.
    pub(crate) id: u64,
}

struct Landed<V> {
    value: Arc<V>,
    /// `None` is for ever.
    until: Option<Instant>,
    /// How many more may have it.
    room: usize,
}

/// What becomes of a caller.
pub(crate) enum Joined<V> {
    Follows(Place, Arc<Line<V>>, u64),
    Full,
    Landed(Arc<V>),
    Leads(Place),
}

impl<K, V> Table<K, V> {
    pub(crate) fn new(limits: &Limits, audience: &Audience) -> Self {
        let part = || Part {
            shard: Mutex::new(Shard::default()),
            limits: *limits,
            audience: audience.clone(),
            promoted: AtomicU64::new(0),
            timed_out: AtomicU64::new(0),
        };
        Self {
            parts: std::array::from_fn(|_| Arc::new(part())),
            hasher: RandomState::new(),
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for part in &self.parts {
            part.add_to(&mut snapshot);
        }
        snapshot
    }

    pub(crate) fn tell(&self, event: Event<'_>) {
        self.parts[0].tell(event);
    }
}

impl<K: Eq + Hash, V> Table<K, V> {
    /// Where `key` belongs, and its hash.
    pub(crate) fn part(&self, key: &K) -> (&Arc<Part<K, V>>, u64) {
        let hash = self.hasher.hash_one(key);
        // A part's table uses the low and the top bits.
        (&self.parts[(hash >> 32) as usize % SHARDS], hash)
    }
}

impl<K, V> Part<K, V> {
    /// The leader of a flight is gone without a value: someone else leads, or the flight is over.
    pub(crate) fn abandon(&self, place: Place) {
        let mut shard = self.shard();
        let Ok(entry) = shard.flights.find_entry(place.hash, is_at(place)) else {
            return;
        };
        // Nobody can come while the shard is locked, so "nobody is left" stays true.
        let line = entry.get().line.as_ref();
        let promoted = line.and_then(|line| line.promote());
        match promoted {
            Some(waker) => {
                drop(shard);
                self.promoted.fetch_add(1, Ordering::Relaxed);
                // In this order: an observer that panics leaves nobody asleep.
                waker.into_iter().for_each(Waker::wake);
                self.tell(Event::Promoted);
            }
            None => {
                let (gone, _) = entry.remove();
                drop(shard);
                drop(gone);
            }
        }
    }

    /// The flight is over. Gives those who wait for its value.
    pub(crate) fn end(&self, place: Place) -> Option<Arc<Line<V>>> {
        let mut shard = self.shard();
        let entry = shard.flights.find_entry(place.hash, is_at(place)).ok()?;
        let (gone, _) = entry.remove();
        drop(shard);
        gone.line
    }

    /// The flight stays to be joined, by those who take `newcomers` at once. Gives those who wait for its value.
    pub(crate) fn land(&self, place: Place, newcomers: V) -> Option<Arc<Line<V>>> {
        let landed = Landed {
            value: Arc::new(newcomers),
            until: self.limits.landed_until(),
            room: self.limits.waiters,
        };
        let mut shard = self.shard();
        let entry = shard.flights.find_mut(place.hash, is_at(place))?;
        entry.landed = Some(landed);
        entry.line.take()
    }

    fn add_to(&self, snapshot: &mut Snapshot) {
        snapshot.promoted += self.promoted.load(Ordering::Relaxed);
        snapshot.timed_out += self.timed_out.load(Ordering::Relaxed);
        self.shard().add_to(snapshot);
    }

    pub(crate) fn timed_out(&self) {
        self.timed_out.fetch_add(1, Ordering::Relaxed);
        self.tell(Event::TimedOut);
    }

    pub(crate) fn tell(&self, event: Event<'_>) {
        self.audience.tell(event);
    }

    fn shard(&self) -> MutexGuard<'_, Shard<K, V>> {
        lock(&self.shard)
    }
}

impl<K: Eq, V> Part<K, V> {
    pub(crate) fn join(&self, key: K, hash: u64) -> Joined<V> {
        self.shard().join(key, hash, &self.limits)
    }

    /// Closes the flight of `key` to newcomers.
    pub(crate) fn forget(&self, key: &K, hash: u64) {
        let mut shard = self.shard();
        if let Some(entry) = shard.flights.find_mut(hash, can_be_joined(key)) {
            entry.joinable = false;
        }
    }
}

impl<K: Eq, V> Shard<K, V> {
    fn join(&mut self, key: K, hash: u64, limits: &Limits) -> Joined<V> {
        if let Some(entry) = self.flights.find_mut(hash, can_be_joined(&key)) {
            if let Some(joined) = entry.join(limits) {
                return self.count(joined);
            }
            entry.joinable = false;
        }
        if self.flights.len() >= limits.flights_per_shard {
            return self.count(Joined::Full);
        }
        let place = Place { hash, id: self.led };
        self.led += 1;
        let entry = Entry {
            key,
            place,
            line: None,
            landed: None,
            joinable: true,
            joinable_until: limits.joinable_until(),
        };
        self.flights
            .insert_unique(hash, entry, |entry| entry.place.hash);
        Joined::Leads(place)
    }

    fn count(&mut self, joined: Joined<V>) -> Joined<V> {
        match joined {
            Joined::Full => self.full += 1,
            _ => self.joined += 1,
        }
        joined
    }
}

impl<K, V> Shard<K, V> {
    fn add_to(&self, snapshot: &mut Snapshot) {
        let lines = self.flights.iter().filter_map(|entry| entry.line.as_ref());
        snapshot.waiters += lines.map(|line| line.len()).sum::<usize>();
        snapshot.flights += self.flights.len();
        snapshot.led += self.led;
        snapshot.joined += self.joined;
        snapshot.full += self.full;
    }
}

impl<K, V> Entry<K, V> {
    /// `None` when the flight takes no newcomers any more.
    fn join(&mut self, limits: &Limits) -> Option<Joined<V>> {
        if let Some(landed) = &mut self.landed {
            return landed.take(Instant::now()).map(Joined::Landed);
        }
        if is_over(self.joinable_until, Instant::now) {
            return None;
        }
        let line = self.line.get_or_insert_with(|| Arc::new(Line::new()));
        let Some(ticket) = line.enter(limits) else {
            return Some(Joined::Full);
        };
        Some(Joined::Follows(self.place, Arc::clone(line), ticket))
    }
}

impl<V> Landed<V> {
    /// The value for one more newcomer. `None` when it is too old, or when too many have it.
    fn take(&mut self, now: Instant) -> Option<Arc<V>> {
        if is_over(self.until, || now) {
            return None;
        }
        self.room = self.room.checked_sub(1)?;
        Some(Arc::clone(&self.value))
    }
}

fn is_at<K, V>(place: Place) -> impl Fn(&Entry<K, V>) -> bool {
    move |entry| entry.place.id == place.id
}

fn can_be_joined<K: Eq, V>(key: &K) -> impl Fn(&Entry<K, V>) -> bool {
    move |entry| entry.joinable && entry.key == *key
}

fn is_over(until: Option<Instant>, now: impl FnOnce() -> Instant) -> bool {
    until.is_some_and(|until| until <= now())
}

impl<K, V> Default for Shard<K, V> {
    fn default() -> Self {
        Self {
            flights: HashTable::new(),
            led: 0,
            joined: 0,
            full: 0,
        }
    }
}
