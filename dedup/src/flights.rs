//! Single flight as a thing by itself: no HTTP, no tower.

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use hashbrown::HashTable;
use tokio::time::Instant;

use crate::event::{Event, Observer};
use crate::line::Line;
use crate::queue::Found;
use crate::sync::{Mutex, MutexGuard, lock};

/// Concurrent calls by key: whoever comes first leads, whoever comes while it runs follows and gets the same value.
///
/// ```
/// use buttress_dedup::{Flights, Role, Waited};
///
/// # tokio_test::block_on(async {
/// let flights = Flights::<&str, u32>::new();
/// let Role::Leader(leader) = flights.join("answer") else { unreachable!() };
/// let Role::Follower(wait) = flights.join("answer") else { unreachable!() };
/// leader.complete(42);
/// assert!(matches!(wait.await, Waited::Value(42)));
/// # })
/// ```
///
/// # Guarantees
///
/// - At most one [`Leader`] per key at any time, as long as each drops its work before itself.
/// - A leader that is dropped, by cancellation or by a panic, makes exactly one follower the new leader. The one who came first
///   is asked first, and passes it on if it is dropped too.
/// - A key is free again before its value is given out: who comes later starts anew.
/// - Nothing is left in the table when nobody is in flight. The table is bounded, and so are the followers of each flight.
///
/// A leader without followers costs two short locks and allocates nothing. Cloning is one `Arc`.
pub struct Flights<K, V> {
    inner: Arc<Inner<K, V>>,
}

struct Inner<K, V> {
    shards: [Mutex<HashTable<Entry<K, V>>>; SHARDS],
    hasher: RandomState,
    next_id: AtomicU64,
    limits: Limits,
    observer: Option<Arc<dyn Observer>>,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    flights_per_shard: usize,
    waiters: usize,
    wait_timeout: Option<Duration>,
    landed_for: Duration,
}

impl Limits {
    /// When a follower that comes now gives up. `None` is never.
    fn deadline(&self) -> Option<Instant> {
        self.wait_timeout
            .and_then(|after| Instant::now().checked_add(after))
    }
}

struct Entry<K, V> {
    key: K,
    hash: u64,
    /// Of this flight, never used again: a late hand cannot touch a newer flight of the same key.
    id: u64,
    /// Made when the first follower comes.
    line: Option<Arc<Line<V>>>,
    /// What newcomers get at once; see [`Leader::land`].
    landed: Option<Landed<V>>,
    joinable: bool,
}

struct Landed<V> {
    value: Arc<V>,
    /// `None` is for ever.
    until: Option<Instant>,
    /// How many more may have it.
    room: usize,
}

/// Enough that two threads seldom meet, few enough that an idle table is small.
const SHARDS: usize = 16;

/// What [`Flights::join`] makes of a caller.
#[derive(Debug)]
#[must_use = "a leader that is dropped makes someone else lead"]
pub enum Role<K: Eq + Hash, V> {
    /// Someone leads; wait for the value.
    Follower(Wait<K, V>),
    /// There is no room for another follower, or for another flight. Work on your own, or refuse.
    Full,
    /// The flight has landed and its value is still to be had.
    Landed(V),
    /// Nobody leads: do the work, then [`Leader::complete`].
    Leader(Leader<K, V>),
}

/// How a [`Wait`] ended.
#[derive(Debug)]
#[must_use = "a leader that is dropped makes someone else lead"]
pub enum Waited<K: Eq + Hash, V> {
    /// The leader went away: this follower leads now.
    Promoted(Leader<K, V>),
    /// The wait timeout has passed. The flight goes on without this follower.
    TimedOut,
    /// The leader's value.
    Value(V),
}

impl Flights<(), ()> {
    /// Chooses bounds. Keys and values are decided by what is [built](FlightsBuilder::build).
    pub fn builder() -> FlightsBuilder {
        FlightsBuilder::default()
    }
}

impl<K: Eq + Hash, V> Flights<K, V> {
    /// Flights with the default bounds: 65 536 at once, 1024 followers each, who wait as long as it takes.
    #[must_use]
    pub fn new() -> Self {
        Flights::builder().build()
    }

    /// Joins the flight of `key`, or starts it.
    pub fn join(&self, key: K) -> Role<K, V>
    where
        V: Clone,
    {
        let hash = self.inner.hasher.hash_one(&key);
        let role = self.inner.join(key, hash);
        let role = match role {
            Joined::Leads(id) => Role::Leader(Leader::new(&self.inner, hash, id)),
            Joined::Follows(id, line, ticket) => {
                Role::Follower(Wait::new(&self.inner, hash, id, line, ticket))
            }
            // Cloned here and not inside, where the lock is held.
            Joined::Landed(value) => Role::Landed(V::clone(&value)),
            Joined::Full => Role::Full,
        };
        self.inner.emit(match &role {
            Role::Leader(_) => Event::Led,
            Role::Full => Event::Full,
            Role::Follower(_) | Role::Landed(_) => Event::Joined,
        });
        role
    }

    /// Closes the flight of `key` to newcomers: who comes from now on starts anew. Those who wait still get its value. For a
    /// caller that has changed what the flight is reading.
    pub fn forget(&self, key: &K) {
        let hash = self.inner.hasher.hash_one(key);
        let mut shard = self.inner.shard(hash);
        if let Some(entry) = shard.find_mut(hash, |entry| entry.joinable && entry.key == *key) {
            entry.joinable = false;
        }
    }

    /// What is in flight now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for shard in &self.inner.shards {
            let shard = lock(shard);
            snapshot.flights += shard.len();
            let lines = shard.iter().filter_map(|entry| entry.line.as_ref());
            snapshot.waiters += lines.map(|line| line.len()).sum::<usize>();
        }
        snapshot
    }
}

/// How much is in flight.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Flights that can be joined, are led or are landing.
    pub flights: usize,
    /// Followers that wait.
    pub waiters: usize,
}

/// Bounds of [`Flights`].
#[derive(Clone)]
#[must_use]
pub struct FlightsBuilder {
    max_flights: NonZeroUsize,
    max_waiters: NonZeroUsize,
    wait_timeout: Option<Duration>,
    landed_for: Duration,
    observer: Option<Arc<dyn Observer>>,
}

impl FlightsBuilder {
    /// How many keys may be in flight at once; over it, [`Role::Full`]. Kept to within one sixteenth per part of the table.
    pub fn max_flights(self, max_flights: NonZeroUsize) -> Self {
        Self {
            max_flights,
            ..self
        }
    }

    /// How many followers one flight may have; over it, [`Role::Full`]. Once it has [landed](Leader::land), as many newcomers again
    /// may join it; who comes after them starts a new flight.
    pub fn max_waiters(self, max_waiters: NonZeroUsize) -> Self {
        Self {
            max_waiters,
            ..self
        }
    }

    /// How long a follower waits: [`Waited::TimedOut`]. Measured by tokio's clock, with one timer per flight.
    pub fn wait_timeout(self, timeout: Duration) -> Self {
        Self {
            wait_timeout: Some(timeout),
            ..self
        }
    }

    /// For how long a flight that has [landed](Leader::land) can be joined, if its [`Landing`] lives for so long; who comes later
    /// starts a new flight. Measured by tokio's clock. Default: 1 s.
    pub fn landed_for(self, landed_for: Duration) -> Self {
        Self { landed_for, ..self }
    }

    /// Who hears of it.
    pub fn observer(self, observer: impl Observer) -> Self {
        Self {
            observer: Some(Arc::new(observer)),
            ..self
        }
    }

    /// The flights.
    #[must_use]
    pub fn build<K, V>(self) -> Flights<K, V> {
        let limits = Limits {
            flights_per_shard: self.max_flights.get().div_ceil(SHARDS),
            waiters: self.max_waiters.get(),
            wait_timeout: self.wait_timeout,
            landed_for: self.landed_for,
        };
        let inner = Inner {
            shards: std::array::from_fn(|_| Mutex::new(HashTable::new())),
            hasher: RandomState::new(),
            next_id: AtomicU64::new(0),
            limits,
            observer: self.observer,
        };
        Flights {
            inner: Arc::new(inner),
        }
    }
}

impl Default for FlightsBuilder {
    fn default() -> Self {
        const FLIGHTS: NonZeroUsize = NonZeroUsize::new(1 << 16).unwrap();
        const WAITERS: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
        Self {
            max_flights: FLIGHTS,
            max_waiters: WAITERS,
            wait_timeout: None,
            landed_for: Duration::from_secs(1),
            observer: None,
        }
    }
}

impl fmt::Debug for FlightsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlightsBuilder")
            .field("max_flights", &self.max_flights)
            .field("max_waiters", &self.max_waiters)
            .field("wait_timeout", &self.wait_timeout)
            .field("landed_for", &self.landed_for)
            .finish_non_exhaustive()
    }
}

enum Joined<V> {
    Follows(u64, Arc<Line<V>>, u64),
    Full,
    Landed(Arc<V>),
    Leads(u64),
}

impl<K: Eq + Hash, V> Inner<K, V> {
    fn join(&self, key: K, hash: u64) -> Joined<V> {
        let mut shard = self.shard(hash);
        let same = |entry: &Entry<K, V>| entry.joinable && entry.key == key;
        if let Some(entry) = shard.find_mut(hash, same) {
            if let Some(joined) = self.follow(entry) {
                return joined;
            }
            entry.joinable = false;
        }
        if shard.len() >= self.limits.flights_per_shard {
            return Joined::Full;
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let entry = Entry {
            key,
            hash,
            id,
            line: None,
            landed: None,
            joinable: true,
        };
        shard.insert_unique(hash, entry, |entry| entry.hash);
        Joined::Leads(id)
    }

    /// `None` when the flight has landed and takes no newcomers any more.
    fn follow(&self, entry: &mut Entry<K, V>) -> Option<Joined<V>> {
        if let Some(landed) = &mut entry.landed {
            return landed.take(Instant::now()).map(Joined::Landed);
        }
        let line = entry.line.get_or_insert_with(|| Arc::new(Line::new()));
        if line.len() >= self.limits.waiters {
            return Some(Joined::Full);
        }
        let ticket = line.enter(self.limits.deadline());
        Some(Joined::Follows(entry.id, Arc::clone(line), ticket))
    }

    /// The leader of a flight is gone without a value: someone else leads, or the flight is over.
    fn abandon(&self, hash: u64, id: u64) {
        let mut shard = self.shard(hash);
        let Ok(entry) = shard.find_entry(hash, |entry| entry.id == id) else {
            return;
        };
        // Nobody can come while the shard is locked, so "nobody is left" stays true.
        let line = entry.get().line.as_ref();
        let promoted = line.and_then(|line| line.promote());
        match promoted {
            Some(waker) => {
                drop(shard);
                // In this order: an observer that panics leaves nobody asleep.
                waker.into_iter().for_each(Waker::wake);
                self.emit(Event::Promoted);
            }
            None => {
                let (gone, _) = entry.remove();
                drop(shard);
                drop(gone);
            }
        }
    }

    fn remove(&self, hash: u64, id: u64) -> Option<Entry<K, V>> {
        let mut shard = self.shard(hash);
        let entry = shard.find_entry(hash, |entry| entry.id == id).ok()?;
        Some(entry.remove().0)
    }
}

impl<V> Landed<V> {
    /// The value for one more newcomer. `None` when it is too old, or when too many have it.
    fn take(&mut self, now: Instant) -> Option<Arc<V>> {
        if self.until.is_some_and(|until| until <= now) {
            return None;
        }
        self.room = self.room.checked_sub(1)?;
        Some(Arc::clone(&self.value))
    }
}

impl<K, V> Inner<K, V> {
    fn land(&self, value: V) -> Landed<V> {
        Landed {
            value: Arc::new(value),
            until: Instant::now().checked_add(self.limits.landed_for),
            room: self.limits.waiters,
        }
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, HashTable<Entry<K, V>>> {
        // The table uses the low and the top bits.
        lock(&self.shards[(hash >> 32) as usize % SHARDS])
    }

    fn emit(&self, event: Event) {
        if let Some(observer) = &self.observer {
            observer.on_event(&event);
        }
    }
}

/// The one who does the work of a flight.
///
/// # Cancellation
///
/// Dropping it without a value makes one follower the leader. Drop the work first: that there is never more than one at a time rests
/// on it.
#[must_use = "a leader that is dropped makes someone else lead"]
pub struct Leader<K: Eq + Hash, V> {
    /// `None` once it has completed.
    inner: Option<Arc<Inner<K, V>>>,
    hash: u64,
    id: u64,
}

impl<K: Eq + Hash, V> Leader<K, V> {
    fn new(inner: &Arc<Inner<K, V>>, hash: u64, id: u64) -> Self {
        Self {
            inner: Some(Arc::clone(inner)),
            hash,
            id,
        }
    }

    /// Gives `value` to everyone who waits. The key is free before they get it.
    pub fn complete(mut self, value: V) {
        let entry = self
            .inner
            .take()
            .and_then(|inner| inner.remove(self.hash, self.id));
        if let Some(line) = entry.and_then(|entry| entry.line) {
            line.publish(value);
        }
    }

    /// Gives `value` to everyone who waits, and `newcomers` to whoever joins while the [`Landing`] lives: for values that
    /// are still under way themselves, like a stream that can be joined near its start.
    ///
    /// Newcomers come to an end while the landing lives, so that one who holds it for long does not keep an old value in use:
    /// after [`landed_for`](FlightsBuilder::landed_for), or when [`max_waiters`](FlightsBuilder::max_waiters) of them have joined,
    /// whoever comes starts a new flight.
    pub fn land(mut self, value: V, newcomers: V) -> Landing<K, V> {
        let inner = self.inner.take();
        let landed = inner.as_ref().map(|inner| inner.land(newcomers));
        let line = inner.as_ref().and_then(|inner| {
            let mut shard = inner.shard(self.hash);
            let entry = shard.find_mut(self.hash, |entry| entry.id == self.id)?;
            entry.landed = landed;
            entry.line.take()
        });
        if let Some(line) = line {
            line.publish(value);
        }
        Landing {
            inner,
            hash: self.hash,
            id: self.id,
        }
    }
}

impl<K: Eq + Hash, V> Drop for Leader<K, V> {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            inner.abandon(self.hash, self.id);
        }
    }
}

/// Keeps a landed flight joinable, within its bounds; made by [`Leader::land`].
///
/// # Cancellation
///
/// Dropping it frees the key: who comes then starts anew.
#[must_use = "the flight cannot be joined any more once this is dropped"]
pub struct Landing<K: Eq + Hash, V> {
    inner: Option<Arc<Inner<K, V>>>,
    hash: u64,
    id: u64,
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        let gone = self
            .inner
            .take()
            .and_then(|inner| inner.remove(self.hash, self.id));
        drop(gone);
    }
}

/// Waits for the value of a flight.
///
/// # Cancellation
///
/// Dropping it gives its place in the queue back. If it had just been made the leader, the next in the queue is.
#[must_use = "futures do nothing unless polled"]
pub struct Wait<K: Eq + Hash, V> {
    inner: Arc<Inner<K, V>>,
    line: Arc<Line<V>>,
    hash: u64,
    id: u64,
    ticket: u64,
    done: bool,
}

impl<K: Eq + Hash, V> Wait<K, V> {
    fn new(inner: &Arc<Inner<K, V>>, hash: u64, id: u64, line: Arc<Line<V>>, ticket: u64) -> Self {
        let inner = Arc::clone(inner);
        Self {
            inner,
            line,
            hash,
            id,
            ticket,
            done: false,
        }
    }
}

impl<K: Eq + Hash, V: Clone> Future for Wait<K, V> {
    type Output = Waited<K, V>;

    /// # Panics
    ///
    /// When it is polled after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Waited<K, V>> {
        assert!(!self.done, "a wait was polled after it was ready");
        let found = ready!(self.line.poll(self.ticket, cx));
        self.done = true;
        Poll::Ready(match (found, self.line.value()) {
            (Found::Promoted, _) => Waited::Promoted(Leader::new(&self.inner, self.hash, self.id)),
            (Found::Landed, Some(value)) => Waited::Value(V::clone(value)),
            (Found::TimedOut, _) => {
                self.inner.emit(Event::TimedOut);
                Waited::TimedOut
            }
            (Found::Landed | Found::Wait, _) => unreachable!("it waits until there is a value"),
        })
    }
}

impl<K: Eq + Hash, V> Drop for Wait<K, V> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        if self.line.leave(self.ticket) {
            self.inner.abandon(self.hash, self.id);
        }
    }
}

/// A `Wait` holds nothing that a move would break.
impl<K: Eq + Hash, V> Unpin for Wait<K, V> {}

impl<K: Eq + Hash, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> Clone for Flights<K, V> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<K: Eq + Hash, V> fmt::Debug for Flights<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights")
            .field("snapshot", &self.snapshot())
            .finish_non_exhaustive()
    }
}

impl<K: Eq + Hash, V> fmt::Debug for Leader<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leader")
            .field("flight", &self.id)
            .finish_non_exhaustive()
    }
}

impl<K: Eq + Hash, V> fmt::Debug for Landing<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Landing")
            .field("flight", &self.id)
            .finish_non_exhaustive()
    }
}

impl<K: Eq + Hash, V> fmt::Debug for Wait<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("flight", &self.id)
            .field("ticket", &self.ticket)
            .finish_non_exhaustive()
    }
}
