//! What is in flight, in parts with a lock each.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hash};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use foldhash::quality::RandomState;

use crate::builder::Limits;
use crate::event::{Audience, Event};
use crate::flights::Snapshot;
use crate::line::Line;
use crate::open::{Boarded, Flight, Joinable, Landed, Open};
use crate::sync::{Mutex, MutexGuard, lock};

/// Enough that two threads seldom meet, few enough that an idle table is small.
pub(crate) const SHARDS: usize = 16;

/// The flights by key. Where somebody stands in it is said by a [`Place`].
pub(crate) struct Table<K, V> {
    parts: [Arc<Part<K, V>>; SHARDS],
    /// Seeded at random for each table, and its hashes are seen by nobody: keys that collide cannot be made up from outside.
    hasher: RandomState,
}

/// What flies under a sixteenth of the hashes. Whoever leads, and the line of those who wait, hold this and not the table: two threads on two keys then seldom touch
/// the same count of references, which would cost each of them more than all the rest.
///
/// On cache lines of its own, for the same reason; and what every flight writes to beside that count comes first, on one of them where keys and locks are words: it costs a thread about as much as all the work of a flight, when
/// another thread has just written to it.
#[repr(C, align(64))]
pub(crate) struct Part<K, V> {
    shard: Mutex<Shard<K, V>>,
    limits: Limits,
    audience: Audience,
    promoted: AtomicU64,
    timed_out: AtomicU64,
}

/// In an order that [`Part`] tells of.
#[repr(C)]
struct Shard<K, V> {
    /// Counted here, where it costs no more than an addition under a lock that is held anyway.
    led: u64,
    flights: Open<K, V>,
    /// Made when the first is closed, or awaited elsewhere.
    closed: Option<Box<Closed<K, V>>>,
    joined: u64,
    full: u64,
}

/// The flights that cannot be joined any more, and have not ended. Apart, by their place alone: a key whose work hangs may have many of them, and
/// must not be in the way of others, nor of itself.
struct Closed<K, V> {
    lines: HashMap<NonZeroU64, Option<Arc<Line<K, V>>>>,
    older: Older,
}

/// How many flights of a key a new one is beside, by its hash: of those that are closed, and of those that other processes [await](Part::await_elsewhere).
/// Of the former there are as many as have room, of the latter as many as there are bodies that callers hold.
#[derive(Default)]
struct Older(HashMap<u64, usize>);

/// What is left of a flight: for its followers, and to be dropped after they have been told.
pub(crate) struct Ended<K, V> {
    pub(crate) line: Option<Arc<Line<K, V>>>,
    /// The user's, whose drop may panic.
    _key: Option<K>,
    _landed: Option<Arc<Landed<V>>>,
}

/// What a landing leaves to be done: followers to be told, and then something to be dropped.
pub(crate) struct LandedAt<K, V> {
    pub(crate) line: Option<Arc<Line<K, V>>>,
    /// What newcomers would have got, where nobody can join any more. The user's, whose drop may panic.
    _of_no_use: Option<Arc<Landed<V>>>,
}

/// Where a flight is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    pub(crate) hash: u64,
    /// A number that is never used again in its part of the table: a late hand cannot touch a newer flight of the same key. Below it, in one word so that
    /// whoever leads is smaller, whether this one is beside another, and a bit that is always set, so that there may be nobody in the same room.
    id: NonZeroU64,
}

impl Place {
    pub(crate) fn new(hash: u64, number: u64, is_beside: bool) -> Self {
        let id = NonZeroU64::MIN | number << 2 | u64::from(is_beside) << 1;
        Self { hash, id }
    }

    /// Of all flights of its part of the table.
    pub(crate) fn number(self) -> u64 {
        self.id.get() >> 2
    }

    /// Whether an older flight of the key, which could not be joined any more, was under way, or awaited by other processes, when this one was started.
    pub(crate) fn is_beside(self) -> bool {
        self.id.get() & 2 != 0
    }
}

/// What becomes of a caller.
pub(crate) enum Joined<K, V> {
    Follows(Arc<Line<K, V>>, u64),
    Full,
    /// With the number of the flight, for [`Part::gone`].
    Landed(Arc<Landed<V>>, NonZeroU64),
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
            hasher: RandomState::default(),
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
        if let Some(waker) = self.hand_over(self.shard(), place) {
            self.promoted.fetch_add(1, Ordering::Relaxed);
            // In this order: the new leader need not wait for observers.
            waker.into_iter().for_each(Waker::wake);
            self.tell(Event::Promoted);
        }
    }

    /// The leader of a flight has failed: someone else leads, once, or the flight is over. Tells whether there is somebody; `None` when it is the second time, and
    /// nothing was done.
    pub(crate) fn retry(&self, place: Place) -> Option<bool> {
        let shard = self.shard();
        if shard.line(place).is_some_and(|line| line.note_failure()) {
            return None;
        }
        let waker = self.hand_over(shard, place);
        let is_somebody = waker.is_some();
        waker.flatten().into_iter().for_each(Waker::wake);
        Some(is_somebody)
    }

    /// Makes a follower the leader, or ends the flight. `None` when nobody is left; else the waker to wake it with, if it is asleep.
    fn hand_over(
        &self,
        mut shard: MutexGuard<'_, Shard<K, V>>,
        place: Place,
    ) -> Option<Option<Waker>> {
        // Nobody can come while the shard is locked, so "nobody is left" stays true.
        let promoted = shard.line(place).and_then(|line| line.promote());
        let gone = match promoted {
            Some(_) => None,
            None => shard.end(place),
        };
        drop(shard);
        drop(gone);
        promoted
    }

    /// The flight is over. Gives those who wait for its value.
    pub(crate) fn end(&self, place: Place) -> Option<Ended<K, V>> {
        self.shard().end(place)
    }

    /// The flight stays to be joined, by those who take `newcomers` at once. Gives those who wait for its value.
    pub(crate) fn land(&self, place: Place, newcomers: V) -> LandedAt<K, V> {
        let landed = Landed::new(newcomers, self.limits.landed_until(), self.limits.waiters);
        let mut shard = self.shard();
        match shard.flights.at_mut(place) {
            Some(flight) => {
                flight.landed = Some(landed);
                LandedAt {
                    line: flight.line.take(),
                    _of_no_use: None,
                }
            }
            None => LandedAt {
                line: shard.closed_line(place).and_then(Option::take),
                _of_no_use: Some(landed),
            },
        }
    }

    /// Other processes wait for what a flight comes to, be it in the table or not: those of its key that are started until [`await_no_more`](Self::await_no_more)
    /// are beside it.
    #[cfg(feature = "http")]
    pub(crate) fn await_elsewhere(&self, place: Place) {
        let mut shard = self.shard();
        let closed = shard.closed.get_or_insert_default();
        closed.older.add(place.hash);
    }

    #[cfg(feature = "http")]
    pub(crate) fn await_no_more(&self, place: Place) {
        if let Some(closed) = &mut self.shard().closed {
            closed.older.remove(place.hash);
        }
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

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    fn shard(&self) -> MutexGuard<'_, Shard<K, V>> {
        lock(&self.shard)
    }
}

impl<K: Eq, V> Part<K, V> {
    /// Takes the key if this caller leads. What is left of it, and who stood in the way and is `gone`, are dropped by the caller, once he has made of it what gives his place back: not here, under
    /// the lock, nor before.
    pub(crate) fn join(
        self: &Arc<Self>,
        key: &mut Option<K>,
        hash: u64,
        gone: &mut Option<Ended<K, V>>,
    ) -> Joined<K, V> {
        self.shard().join(key, hash, self, gone)
    }

    /// What a newcomer has found was of no use any more: it has joined nothing, and nobody else is to find it. Whose it was has ended it by now, or is about to.
    #[cold]
    pub(crate) fn gone(&self, hash: u64, id: NonZeroU64) {
        let mut shard = self.shard();
        shard.joined -= 1;
        let gone = shard.end(Place { hash, id });
        drop(shard);
        drop(gone);
    }

    /// Closes the flight of `key` to newcomers.
    pub(crate) fn forget(&self, key: &K, hash: u64) {
        let mut shard = self.shard();
        let room = self.limits.flights_per_shard;
        let found = shard.flights.find(hash, |known| known == key);
        let place = found.map(|flight| flight.place);
        let gone = place.and_then(|place| shard.close(place, room));
        drop(shard);
        drop(gone);
    }
}

impl<K: Eq, V> Shard<K, V> {
    fn join(
        &mut self,
        key: &mut Option<K>,
        hash: u64,
        part: &Arc<Part<K, V>>,
        gone: &mut Option<Ended<K, V>>,
    ) -> Joined<K, V> {
        let room = part.limits.flights_per_shard;
        let is_it = |known: &K| Some(known) == key.as_ref();
        if let Some(flight) = self.flights.find(hash, is_it) {
            let place = flight.place;
            if let Some(boarded) = flight.board(part) {
                return self.count(Joined::of(boarded, place));
            }
            *gone = self.close(place, room);
            if gone.is_none() {
                // The work of many such flights hangs, and there is no room for one more.
                return self.count(Joined::Full);
            }
        }
        let has_room = self.flights.len() < room;
        let Some(key) = has_room.then(|| key.take()).flatten() else {
            return self.count(Joined::Full);
        };
        let closed = self.closed.as_ref();
        let is_beside = closed.is_some_and(|closed| closed.older.0.contains_key(&hash));
        let place = Place::new(hash, self.led, is_beside);
        self.led += 1;
        let flight = Flight::new(key, place, &part.limits);
        self.flights.insert(flight);
        Joined::Leads(place)
    }

    fn count(&mut self, joined: Joined<K, V>) -> Joined<K, V> {
        match joined {
            Joined::Full => self.full += 1,
            _ => self.joined += 1,
        }
        joined
    }
}

impl<K, V> Shard<K, V> {
    /// Closes a flight to newcomers. Where there is no room for another one that is closed, it only takes none.
    fn close(&mut self, place: Place, room: usize) -> Option<Ended<K, V>> {
        let closed = self.closed.get_or_insert_default();
        if closed.lines.len() >= room {
            self.flights.at_mut(place)?.joinable = Joinable::NEVER;
            return None;
        }
        let Flight {
            key, line, landed, ..
        } = self.flights.remove(place)?;
        closed.lines.insert(place.id, line);
        closed.older.add(place.hash);
        Some(Ended {
            line: None,
            _key: Some(key),
            _landed: landed,
        })
    }

    fn closed_line(&mut self, place: Place) -> Option<&mut Option<Arc<Line<K, V>>>> {
        self.closed.as_mut()?.lines.get_mut(&place.id)
    }

    /// Those who wait at `place`.
    fn line(&self, place: Place) -> Option<&Arc<Line<K, V>>> {
        match self.flights.at(place) {
            Some(flight) => flight.line.as_ref(),
            None => self.closed.as_ref()?.lines.get(&place.id)?.as_ref(),
        }
    }

    fn end(&mut self, place: Place) -> Option<Ended<K, V>> {
        Some(match self.flights.remove(place) {
            Some(flight) => Ended {
                line: flight.line,
                _key: Some(flight.key),
                _landed: flight.landed,
            },
            None => Ended {
                line: self.closed.as_mut()?.end(place)?,
                _key: None,
                _landed: None,
            },
        })
    }

    fn add_to(&self, snapshot: &mut Snapshot) {
        let open = self
            .flights
            .iter()
            .filter_map(|flight| flight.line.as_ref());
        let closed = self.closed.iter().flat_map(|closed| closed.lines.values());
        snapshot.flights += self.flights.len() + closed.clone().count();
        let lines = open.chain(closed.flatten());
        snapshot.waiters += lines.map(|line| line.len()).sum::<usize>();
        snapshot.led += self.led;
        snapshot.joined += self.joined;
        snapshot.full += self.full;
    }
}

impl<K, V> Closed<K, V> {
    fn end(&mut self, place: Place) -> Option<Option<Arc<Line<K, V>>>> {
        let line = self.lines.remove(&place.id)?;
        self.older.remove(place.hash);
        Some(line)
    }
}

impl Older {
    fn add(&mut self, hash: u64) {
        *self.0.entry(hash).or_default() += 1;
    }

    fn remove(&mut self, hash: u64) {
        if let Entry::Occupied(mut count) = self.0.entry(hash) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl<K, V> Joined<K, V> {
    fn of(boarded: Boarded<K, V>, place: Place) -> Self {
        match boarded {
            Boarded::Follows(line, ticket) => Self::Follows(line, ticket),
            Boarded::Full => Self::Full,
            Boarded::Landed(landed) => Self::Landed(landed, place.id),
        }
    }
}

impl<K, V> Default for Closed<K, V> {
    fn default() -> Self {
        Self {
            lines: HashMap::new(),
            older: Older::default(),
        }
    }
}

impl<K, V> Default for Shard<K, V> {
    fn default() -> Self {
        Self {
            flights: Open::default(),
            closed: None,
            led: 0,
            joined: 0,
            full: 0,
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
#[cfg(not(buttress_loom))]
mod tests {
    use std::mem::offset_of;

    use super::*;

    /// Where a lock is a word.
    #[test]
    fn what_a_flight_writes_to_is_on_one_cache_line() {
        assert_eq!(offset_of!(Part<u64, u64>, shard), 0);
        // The lock is before it.
        let before = size_of::<Mutex<()>>().next_multiple_of(8);
        let first = offset_of!(Shard<u64, u64>, flights);
        let written = before + first + size_of::<Option<Flight<u64, u64>>>();
        assert!(written <= 64, "{written} bytes");
    }
}
