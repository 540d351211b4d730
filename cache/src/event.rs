//! What happens in a cache, for those who want to count it.

use crate::clock::Depth;

/// Something that happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A value was found and served.
    Hit {
        /// Its key.
        key: &'a [u8],
    },
    /// No value could be served.
    Miss {
        /// Its key.
        key: &'a [u8],
    },
    /// The source was read for this key.
    Filled {
        /// Its key.
        key: &'a [u8],
    },
    /// The source failed.
    FillFailed {
        /// Its key.
        key: &'a [u8],
    },
    /// A call waited for somebody else's fill instead of starting one.
    Joined {
        /// Its key.
        key: &'a [u8],
    },
    /// The source failed, and a stale value was served.
    ServedStale {
        /// Its key.
        key: &'a [u8],
    },
    /// Tags or a key were invalidated.
    Invalidated {
        /// How deeply.
        depth: Depth,
    },
    /// Everything was invalidated.
    Cleared,
}

/// Hears of every [`Event`]. Any closure of this shape is one.
pub trait Observer: Send + Sync + 'static {
    /// Called after the fact, never under a lock. May call any method of the handle.
    fn on_event(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync + 'static> Observer for F {
    fn on_event(&self, event: &Event<'_>) {
        self(event);
    }
}

/// How often each thing has happened since the cache was built.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Values served from the first level.
    pub hits: u64,
    /// Look-ups that found nothing to serve.
    pub misses: u64,
    /// Times the source was read.
    pub fills: u64,
    /// Times the source failed.
    pub failures: u64,
    /// Calls that waited for somebody else's fill.
    pub joined: u64,
    /// Stale values served because the source failed.
    pub stale: u64,
    /// Invalidations, clearing included.
    pub invalidations: u64,
    /// Entries held, near enough.
    pub entries: u64,
    /// Bytes held, as weighed, near enough.
    pub weight: u64,
    /// Fills under way.
    pub filling: usize,
}
