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
    /// Stale values served, because the source failed or was slow.
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

const STRIPES: usize = 8;

impl Striped {
    fn add(&self) {
        thread_local! {
            static MINE: usize = {
                static NEXT: AtomicUsize = AtomicUsize::new(0);
                NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES
            };
        }
        // A thread that is torn down counts with the first.
        let mine = MINE.try_with(|mine| *mine).unwrap_or_default();
        self.0[mine].0.fetch_add(1, Ordering::Relaxed);
    }

    fn sum(&self) -> u64 {
        let counts = self.0.iter().map(|stripe| stripe.0.load(Ordering::Relaxed));
        counts.fold(0, u64::wrapping_add)
    }
}
