//! What happens in a cache, for those who want to count it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::clock::Depth;
use crate::hit::Tier;

/// Something that happened.
///
/// Each look-up in memory brings about one of [`Hit`](Event::Hit) and [`Miss`](Event::Miss); the others say what became of a miss, or what went on beside.
/// Keys are as their user gave them, without what keeps partitions and namespaces apart. The user of an HTTP layer's cache is the layer: there a key
/// is the target of a request in bytes, partition, scheme, authority, path and query, most of them behind their lengths.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Everything was taken away, or everything in a partition or namespace.
    Cleared,
    /// A fill took longer than the soft timeout, and goes on without its caller.
    Detached {
        /// Its key.
        key: &'a [u8],
    },
    /// The source failed.
    FillFailed {
        /// Its key.
        key: &'a [u8],
        /// How.
        why: Failure,
    },
    /// The source was read for this key.
    Filled {
        /// Its key.
        key: &'a [u8],
    },
    /// A value was found and served; or it was known that the source has none.
    Hit {
        /// Its key.
        key: &'a [u8],
        /// Where it was found.
        tier: Tier,
    },
    /// Tags or a key were invalidated.
    Invalidated {
        /// How deeply.
        depth: Depth,
    },
    /// A call waits for somebody else's fill instead of starting one.
    Joined {
        /// Its key.
        key: &'a [u8],
    },
    /// The second level could not be asked, or be told; the cache goes on without it.
    L2Failed {
        /// How.
        why: L2Failure,
        /// What it says of it.
        error: &'a str,
    },
    /// No fresh value was found in memory. If there is a second level, it is looked for there: what is found is a hit too.
    Miss {
        /// Its key.
        key: &'a [u8],
    },
    /// The clock that processes share has begun anew: nothing of before is valid.
    NewEpoch,
    /// A value that is still fresh is read anew, in the background.
    Refreshing {
        /// Its key.
        key: &'a [u8],
    },
    /// This process had missed what others invalidated, and knows it now.
    Resynced,
    /// A stale value was served.
    ServedStale {
        /// Its key.
        key: &'a [u8],
        /// Instead of what.
        why: Stale,
    },
    /// A value was read and not stored: one of its tags was guarded, a dependency was filled anew meanwhile, it has too many tags, or it is larger than
    /// [what is kept in memory](crate::Memory); a second level may have it then.
    Unstored {
        /// Its key.
        key: &'a [u8],
    },
}

/// How a fill failed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Failure {
    /// It panicked.
    Panicked,
    /// The source said so.
    Source,
    /// It took longer than the hard timeout.
    TimedOut,
}

/// How the second level failed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum L2Failure {
    /// It holds what is not ours, or a value could not be written or read.
    Corrupt,
    /// It was not asked, for it has failed too often.
    Shunned,
    /// It did not answer in time.
    Slow,
    /// It could not be reached.
    Unavailable,
}

/// Why a stale value was served.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Stale {
    /// The source failed.
    Failed,
    /// It could be, while it is read anew in the background (RFC 5861, 3), or its request asked for nothing but what is stored. The HTTP cache alone.
    Revalidating,
    /// The source failed or was slow a short while ago, and was not asked again.
    Throttled,
    /// The source took longer than the soft timeout.
    Slow,
}

impl Event<'_> {
    pub(crate) const NAMES: [&'static str; 14] = [
        "cleared",
        "detached",
        "fill_failed",
        "filled",
        "hit",
        "invalidated",
        "joined",
        "l2_failed",
        "miss",
        "new_epoch",
        "refreshing",
        "resynced",
        "served_stale",
        "unstored",
    ];

    /// What it is called in logs and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// Of its name.
    pub(crate) fn index(&self) -> usize {
        match self {
            Self::Cleared => 0,
            Self::Detached { .. } => 1,
            Self::FillFailed { .. } => 2,
            Self::Filled { .. } => 3,
            Self::Hit { .. } => 4,
            Self::Invalidated { .. } => 5,
            Self::Joined { .. } => 6,
            Self::L2Failed { .. } => 7,
            Self::Miss { .. } => 8,
            Self::NewEpoch => 9,
            Self::Refreshing { .. } => 10,
            Self::Resynced => 11,
            Self::ServedStale { .. } => 12,
            Self::Unstored { .. } => 13,
        }
    }
}

/// Hears of every [`Event`]. Any closure of this shape is one.
pub trait Observer: Send + Sync + 'static {
    /// Called after the fact, never under a lock. May call any method of the handle. When it panics, nobody but the panic hook hears of it: values are stored, and waiters woken, all the
    /// same.
    fn on_event(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync + 'static> Observer for F {
    fn on_event(&self, event: &Event<'_>) {
        self(event);
    }
}

/// All who hear, in the order they were added.
#[derive(Clone, Default)]
pub(crate) struct Audience(Vec<Arc<dyn Observer>>);

impl Audience {
    pub(crate) fn add(&mut self, observer: impl Observer) {
        self.0.push(Arc::new(observer));
    }

    /// Inlined, so that where nobody hears no event is made.
    #[inline]
    pub(crate) fn tell(&self, event: &Event<'_>) {
        if !self.0.is_empty() {
            self.tell_all(event);
        }
    }

    #[inline(never)]
    fn tell_all(&self, event: &Event<'_>) {
        for observer in &self.0 {
            let tell = AssertUnwindSafe(|| observer.on_event(event));
            let _ = catch_unwind(tell);
        }
    }
}
