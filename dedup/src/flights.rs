//! Single flight as a thing by itself: no HTTP, no tower.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use crate::builder::FlightsBuilder;
use crate::event::Event;
use crate::leader::Leader;
use crate::table::{Joined, Part, Table};
use crate::wait::Wait;

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
/// [`run`](Self::run) puts these pieces together for work that is a future.
///
/// # Guarantees
///
/// - At most one [`Leader`] per key at any time, as long as each drops its work before itself. ([`forget`](Self::forget) and
///   [`max_age`](FlightsBuilder::max_age) ask for a second one beside it.)
/// - A leader that is dropped, by cancellation or by a panic, makes exactly one follower the new leader. The one who came first
///   is asked first, and passes it on if it is dropped too.
/// - A key is free again before its value is given out: who comes later starts anew.
/// - Nothing is left in the table when nobody is in flight. The table is bounded, and so are the followers of each flight.
///
/// A leader without followers costs two short locks and allocates nothing. Cloning is one `Arc`.
pub struct Flights<K, V> {
    table: Arc<Table<K, V>>,
}

/// What [`Flights::join`] makes of a caller.
#[derive(Debug)]
#[must_use = "a leader that is dropped makes someone else lead"]
pub enum Role<K, V> {
    /// Someone leads; wait for the value.
    Follower(Wait<K, V>),
    /// There is no room for another follower, or for another flight. Work on your own, or refuse.
    Full,
    /// The flight has landed and its value is still to be had.
    Landed(V),
    /// Nobody leads: do the work, then [`Leader::complete`].
    Leader(Leader<K, V>),
}

impl<K: Eq, V> Role<K, V> {
    fn join(part: &Arc<Part<K, V>>, key: K, hash: u64, take: impl Fn(&V) -> Option<V>) -> Self {
        let (mut key, mut gone) = (Some(key), None);
        loop {
            let joined = part.join(&mut key, hash, &mut gone);
            // What is left of the key, and of who stood in the way, is dropped when the role is there: if that panics, the role gives its place back.
            match joined {
                Joined::Leads(place) => {
                    let leader = Leader::new(Arc::clone(part), place);
                    drop((key, gone));
                    leader.tell(Event::Led);
                    return Self::Leader(leader);
                }
                Joined::Follows(line, ticket) => {
                    let wait = Wait::new(line, ticket);
                    drop(key);
                    wait.tell(Event::Joined);
                    return Self::Follower(wait);
                }
                // Taken here and not inside, where the lock is held: so it may be too late.
                Joined::Landed(landed, id) => match take(&landed.value) {
                    Some(value) => {
                        part.tell(Event::Joined);
                        return Self::Landed(value);
                    }
                    // Whoever comes here again has met another flight, that has begun, landed and come to its end since.
                    None => part.gone(hash, id),
                },
                Joined::Full => {
                    part.tell(Event::Full);
                    return Self::Full;
                }
            }
        }
    }
}

impl Flights<(), ()> {
    /// Chooses bounds. Keys and values are decided by what is [built](FlightsBuilder::build).
    pub fn builder() -> FlightsBuilder {
        FlightsBuilder::default()
    }
}

impl<K, V> Flights<K, V> {
    /// Flights with the default bounds: 65 536 at once, 1024 followers each, who wait as long as it takes.
    #[must_use]
    pub fn new() -> Self {
        Flights::builder().build()
    }

    pub(crate) fn of(table: Table<K, V>) -> Self {
        Self {
            table: Arc::new(table),
        }
    }

    /// What is in flight now, and what has been so far.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.table.snapshot()
    }

    pub(crate) fn tell(&self, event: Event<'_>) {
        self.table.tell(event);
    }
}

impl<K: Eq + Hash, V> Flights<K, V> {
    /// Joins the flight of `key`, or starts it.
    ///
    /// Keys are compared under a lock, which is all of yours that ever is: an `Eq` that calls these flights waits for itself.
    pub fn join(&self, key: K) -> Role<K, V>
    where
        V: Clone,
    {
        self.join_by(key, |value| Some(value.clone()))
    }

    /// Joins the flight of `key`, or starts it, where newcomers have to `take` what it has landed with, and may be too late: then the flight is over, and they take part in the next.
    pub(crate) fn join_by(&self, key: K, take: impl Fn(&V) -> Option<V>) -> Role<K, V> {
        let (part, hash) = self.table.part(&key);
        Role::join(part, key, hash, take)
    }

    /// Closes the flight of `key` to newcomers: who comes from now on starts anew. Those who wait still get its value. For a
    /// caller that has changed what the flight is reading.
    pub fn forget(&self, key: &K) {
        let (part, hash) = self.table.part(key);
        part.forget(key, hash);
    }
}

/// How much is in flight, and how much has been since the flights were built. The totals are of different moments when others are at work.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Flights that can be joined, are led or are landing, now.
    pub flights: usize,
    /// Followers that wait now.
    pub waiters: usize,
    /// Flights that were started, in total.
    pub led: u64,
    /// Callers that joined a flight, in total.
    pub joined: u64,
    /// Leaders that went away and were followed by another, in total.
    pub promoted: u64,
    /// Callers that found no room, in total.
    pub full: u64,
    /// Requests of the HTTP layer that passed alone since answers to their like had been private, in total.
    pub passed: u64,
    /// Followers that waited for too long, in total.
    pub timed_out: u64,
}

impl Snapshot {
    /// Whether nothing is in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.flights == 0 && self.waiters == 0
    }

    /// Callers that shared nothing: there was no room, they had waited for too long, or answers to their like had been private. They went on beside a flight, but for those whom
    /// a layer [refuses](crate::OnFull::Reject) where there is no room.
    #[must_use]
    pub fn bypassed(&self) -> u64 {
        self.full + self.passed + self.timed_out
    }
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> Clone for Flights<K, V> {
    fn clone(&self) -> Self {
        Self {
            table: Arc::clone(&self.table),
        }
    }
}

impl<K, V> fmt::Debug for Flights<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights")
            .field("snapshot", &self.snapshot())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(not(buttress_loom))]
mod tests {
    use super::*;

    #[test]
    fn who_is_too_late_for_what_has_landed_ends_it_and_leads_the_next() {
        let flights = Flights::<u8, u8>::new();
        let leads = |role: Role<u8, u8>| match role {
            Role::Leader(leader) => leader,
            other => unreachable!("{other:?}"),
        };
        let landing = leads(flights.join(0)).land(1, 1);
        let next = leads(flights.join_by(0, |_| None));
        drop(landing);
        let snapshot = flights.snapshot();
        assert_eq!((snapshot.led, snapshot.joined), (2, 0));
        assert_eq!(snapshot.flights, 1, "what has ended does not end the next");
        assert!(matches!(flights.join(0), Role::Follower(_)));
        drop(next);
        assert!(flights.snapshot().is_idle());
    }
}
