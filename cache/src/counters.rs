//! Counts events, and hands them on.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::event::{Audience, Event};
use crate::hit::Tier;

/// How often each event has happened.
pub(crate) struct Counters {
    /// Of each kind but hits, by its index.
    counts: [AtomicU64; Event::NAMES.len()],
    hits: Striped,
    audience: Audience,
}

impl Counters {
    pub(crate) fn new(audience: Audience) -> Self {
        Self {
            counts: Default::default(),
            hits: Striped::default(),
            audience,
        }
    }

    pub(crate) fn tell(&self, event: Event<'_>) {
        match event {
            Event::Hit {
                tier: Tier::Memory, ..
            } => self.hits.add(),
            // The counter of hits that are not among those.
            _ => {
                self.counts[event.index()].fetch_add(1, Ordering::Relaxed);
            }
        }
        self.audience.tell(&event);
    }

    /// The counts; of entries and fills under way somebody else knows.
    pub(crate) fn snapshot(&self) -> Snapshot {
        // In the order of the names.
        let [
            cleared,
            detached,
            failures,
            fills,
            redis_hits,
            invalidated,
            joined,
            l2_failures,
            misses,
            new_epochs,
            refreshes,
            resyncs,
            stale,
            unstored,
        ] = self
            .counts
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed));
        Snapshot {
            hits: self.hits.sum(),
            misses,
            fills,
            failures,
            joined,
            stale,
            detached,
            refreshes,
            unstored,
            redis_hits,
            l2_failures,
            resyncs: resyncs + new_epochs,
            invalidations: invalidated + cleared,
            ..Snapshot::default()
        }
    }
}

/// How often each thing has happened since the cache was built, and how much is in it. The figures are of different moments when others are at work.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Values served fresh from memory.
    pub hits: u64,
    /// Values found fresh in the level that processes share, also by who was about to refresh his own.
    pub redis_hits: u64,
    /// Look-ups that found nothing fresh.
    pub misses: u64,
    /// Times the source was read.
    pub fills: u64,
    /// Times the source failed.
    pub failures: u64,
    /// Calls that waited for somebody else's fill.
    pub joined: u64,
    /// Stale values served: because the source failed or was slow, or, by the HTTP cache, while they were read anew.
    pub stale: u64,
    /// Fills that went on without their caller.
    pub detached: u64,
    /// Values that were read anew in the background while they were fresh.
    pub refreshes: u64,
    /// Values that were read and not stored.
    pub unstored: u64,
    /// Invalidations, clearing included.
    pub invalidations: u64,
    /// Times the second level failed, or was not asked because it had.
    pub l2_failures: u64,
    /// Times this process had missed what others invalidated, and caught up; or the second level had lost it, and everything was taken away.
    pub resyncs: u64,
    /// Invalidated slots that other processes could not be told of yet.
    pub untold: usize,
    /// How far behind other processes this one may be. `None` where there are none, or their clock was never seen.
    pub lag: Option<Duration>,
    /// Entries held, near enough.
    pub entries: u64,
    /// Bytes held, as weighed, near enough.
    pub weight: u64,
    /// Bytes that the invalidation clock takes, beside the entries: 16 for each slot ever invalidated and 16 for each ever guarded, in pages of 1024 slots.
    pub clock: u64,
    /// Fills under way.
    pub filling: usize,
    /// Tasks of this cache that run now: see [`Cache::drain`](crate::Cache::drain).
    pub background: usize,
}

/// A count in several places, so that threads that count the same thing seldom meet.
#[derive(Default)]
struct Striped([Stripe; STRIPES]);

/// On a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Stripe(AtomicU64);

const STRIPES: usize = OWNED + SHARED;
/// So many threads have a place of their own. Who is the only one to write needs no lock of the bus, which is dear to what is as short as a hit.
const OWNED: usize = 16;
/// The others share these.
const SHARED: usize = 4;

impl Striped {
    fn add(&self) {
        thread_local! {
            static MINE: Place = Place::take();
        }
        // A thread that is torn down counts with those that share.
        let mine = MINE.try_with(|mine| mine.0).unwrap_or(OWNED);
        let count = &self.0[mine].0;
        if mine < OWNED {
            let next = count.load(Ordering::Relaxed).wrapping_add(1);
            count.store(next, Ordering::Relaxed);
        } else {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn sum(&self) -> u64 {
        let counts = self.0.iter().map(|stripe| stripe.0.load(Ordering::Relaxed));
        counts.fold(0, u64::wrapping_add)
    }
}

/// Where a thread counts, as long as it lives.
struct Place(usize);

/// Which places are owned, by bits.
static TAKEN: AtomicU64 = AtomicU64::new(0);

impl Place {
    fn take() -> Self {
        let free = |taken: u64| {
            let place = taken.trailing_ones() as usize;
            (place < OWNED).then_some(taken | 1 << place)
        };
        // What the one before has counted there is seen from here on.
        match TAKEN.fetch_update(Ordering::Acquire, Ordering::Relaxed, free) {
            Ok(taken) => Self(taken.trailing_ones() as usize),
            Err(_) => {
                static NEXT: AtomicUsize = AtomicUsize::new(0);
                Self(OWNED + NEXT.fetch_add(1, Ordering::Relaxed) % SHARED)
            }
        }
    }
}

impl Drop for Place {
    /// The next thread may have it.
    fn drop(&mut self) {
        if self.0 < OWNED {
            TAKEN.fetch_and(!(1 << self.0), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn nothing_is_lost_of_what_many_threads_count_one_after_the_other_and_at_once() {
        const THREADS: usize = 3 * STRIPES;
        const EACH: u64 = 1000;
        let (count, barrier) = (Striped::default(), Barrier::new(THREADS));
        for round in 1..=3 {
            thread::scope(|scope| {
                for _ in 0..THREADS {
                    scope.spawn(|| {
                        // All of them have a place at one time: more than there are.
                        count.add();
                        barrier.wait();
                        (1..EACH).for_each(|_| count.add());
                    });
                }
            });
            assert_eq!(count.sum(), round * THREADS as u64 * EACH);
        }
    }

    #[test]
    fn no_two_threads_own_one_place() {
        let places: Vec<_> = (0..2 * STRIPES).map(|_| Place::take()).collect();
        let mut owned: Vec<_> = places.iter().map(|place| place.0).collect();
        assert!(owned.iter().all(|place| *place < STRIPES));
        owned.retain(|place| *place < OWNED);
        let before = owned.len();
        owned.sort_unstable();
        owned.dedup();
        assert_eq!(owned.len(), before);
    }
}
