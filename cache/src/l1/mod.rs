//! The first level: in the process, bounded by weight.

#[cfg(feature = "moka")]
mod moka;
#[cfg(feature = "moka")]
mod outside;
mod quick;

use std::sync::Arc;

use crate::entry::Entry;

/// What keeps values in the process, and which ones when there are too many.
///
/// Whichever it is, an answer of the cache is right or a miss: lifetimes and validity are the cache's own.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Memory {
    /// [quick_cache](https://docs.rs/quick_cache), by Clock-PRO: quick to find and to keep things, and a scan of many keys does not push out what is in use, as
    /// long as each is less than some 3 % of a part. What was in use goes when something else is asked for again not long after it went; until then it stays.
    ///
    /// The room is divided by the hash of the key into parts with a lock each, for readers that do not wait for each other. Parts are even, of 32 MiB or more, and
    /// four for each processor at most: a room of less than 64 MiB is one part. Nothing larger than 97 % of a part is kept.
    ///
    /// An entry is weighed with its place in the tables. What is remembered of those that went is not weighed: 3 % of the room at most.
    #[default]
    QuickCache,
    /// [moka](https://docs.rs/moka), for who wants an LRU. Nothing larger than the room is kept. What is put in may come and go for a moment before the bound is looked after.
    #[cfg(feature = "moka")]
    Moka(Eviction),
    #[cfg(all(test, buttress_loom))]
    #[doc(hidden)]
    Plain,
}

/// What moka does without when there is too much.
#[cfg(feature = "moka")]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Eviction {
    /// What has been used longest ago: right where what is new is what is wanted.
    Lru,
    /// What is used least often, also of what wants to get in: a scan of many keys does not push out what is in use.
    #[default]
    TinyLfu,
}

/// Keeps entries by their full keys, as many as fit.
///
/// An entry that was put in may be gone at any time; one that was removed, or replaced, must not come back. No entry is dropped under a lock.
pub(crate) trait L1<V>: Send + Sync {
    fn get(&self, full: &[u8]) -> Option<Arc<Entry<V>>>;

    /// Whether something is there. Does not count as a use for eviction.
    #[cfg_attr(
        not(any(test, feature = "http")),
        expect(dead_code, reason = "only HTTP asks")
    )]
    fn has(&self, full: &[u8]) -> bool;

    /// In the place of what is there. Says whether there is room for something of its size at all: if not, nothing is there now.
    fn insert(&self, full: Arc<[u8]>, entry: Arc<Entry<V>>) -> bool;

    /// The largest weight that there is room for.
    #[cfg_attr(
        not(any(test, feature = "http")),
        expect(dead_code, reason = "only HTTP asks")
    )]
    fn largest(&self) -> u64;

    fn remove(&self, full: &[u8]);

    fn clear(&self);

    /// How many entries, of what weight, near enough.
    fn size(&self) -> (u64, u64);
}

impl Memory {
    pub(crate) fn build<V: Send + Sync + 'static>(self, max_weight: u64) -> Box<dyn L1<V>> {
        match self {
            Self::QuickCache => Box::new(quick::Level::new(max_weight)),
            #[cfg(feature = "moka")]
            Self::Moka(eviction) => Box::new(moka::Level::new(eviction, max_weight)),
            #[cfg(all(test, buttress_loom))]
            Self::Plain => Box::new(crate::loom::Plain::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::clock::{InvalidationClock, SlotBits};
    use crate::entry::{Held, Lifetime};
    use crate::slots::Slots;

    const ALL: &[Memory] = &[
        Memory::QuickCache,
        #[cfg(feature = "moka")]
        Memory::Moka(Eviction::TinyLfu),
        #[cfg(feature = "moka")]
        Memory::Moka(Eviction::Lru),
    ];

    fn entry<V>(value: V, weight: u32) -> Arc<Entry<V>> {
        let stamp = InvalidationClock::new(SlotBits::at_least(0)).stamp();
        let lifetime = Lifetime {
            ttl: Duration::MAX,
            grace: Duration::ZERO,
        };
        let now = Instant::now();
        let mut entry = Entry::new(Held::Own(value), stamp, Slots::default(), now, lifetime);
        entry.weight = weight;
        Arc::new(entry)
    }

    fn key(n: u32) -> Arc<[u8]> {
        n.to_be_bytes().into()
    }

    fn value(level: &dyn L1<u32>, n: u32) -> Option<u32> {
        level.get(&key(n)).and_then(|entry| entry.value().copied())
    }

    #[test]
    fn what_was_put_in_last_is_found_until_it_is_removed() {
        for memory in ALL {
            let level = memory.build::<u32>(1 << 20);
            assert_eq!(value(&*level, 1), None);
            for n in [1, 2] {
                level.insert(key(1), entry(n, 100));
                assert_eq!(value(&*level, 1), Some(n), "{memory:?}");
            }
            level.insert(key(2), entry(2, 100));
            assert_eq!(level.size(), (2, 200), "{memory:?}");
            level.remove(&key(1));
            level.remove(&key(3));
            assert_eq!((value(&*level, 1), value(&*level, 2)), (None, Some(2)));
            assert_eq!(level.size(), (1, 100), "{memory:?}");
            level.clear();
            assert_eq!(value(&*level, 2), None);
            assert_eq!(level.size(), (0, 0), "{memory:?}");
            level.insert(key(2), entry(3, 100));
            assert_eq!(value(&*level, 2), Some(3), "{memory:?}");
        }
    }

    #[test]
    fn the_weight_is_bounded_and_the_room_is_used() {
        for memory in ALL {
            let level = memory.build::<u32>(1 << 20);
            for n in 0..10_000 {
                level.insert(key(n), entry(n, 500 + n % 1000));
            }
            let (entries, weight) = level.size();
            assert!(weight <= 1 << 20, "{memory:?}: {weight}");
            assert!(weight >= 900 << 10, "{memory:?}: {weight}");
            let found = (0..10_000).filter(|n| value(&*level, *n).is_some());
            assert_eq!(found.count() as u64, entries, "{memory:?}");
        }
    }

    #[test]
    fn what_is_larger_than_the_room_is_not_kept_and_costs_nothing_else() {
        for memory in ALL {
            let level = memory.build::<u32>(1 << 20);
            level.insert(key(1), entry(1, 100));
            level.insert(key(2), entry(2, 2 << 20));
            let (_, weight) = level.size();
            assert!(weight <= 1 << 20, "{memory:?}: {weight}");
            assert_eq!((value(&*level, 1), value(&*level, 2)), (Some(1), None));
            // In the place of what was there, it is as if that had been removed.
            level.insert(key(1), entry(3, 2 << 20));
            level.size();
            assert_eq!(value(&*level, 1), None, "{memory:?}");
        }
    }

    #[test]
    fn several_large_ones_are_kept_beside_what_is_small() {
        // What the HTTP cache stores at most, with its head, in what a cache has room for: both by default.
        const ROOM: u64 = 64 << 20;
        const LARGE: u32 = (8 << 20) + 4096;
        for memory in ALL {
            let level = memory.build::<u32>(ROOM);
            for n in 0..1000 {
                level.insert(key(n), entry(n, 1000));
            }
            // Also if all are in one part.
            for n in 1000..1003 {
                assert!(level.insert(key(n), entry(n, LARGE)));
            }
            level.size();
            let found = (0..1003).filter(|n| value(&*level, *n).is_some());
            assert_eq!(found.count(), 1003, "{memory:?}");
            // More of them than there is room for: the one that came last is there.
            for n in 1003..1020 {
                assert!(level.insert(key(n), entry(n, LARGE)));
                let (_, weight) = level.size();
                assert!(weight <= ROOM, "{memory:?}: {weight}");
                if *memory == Memory::QuickCache {
                    assert_eq!(value(&*level, n), Some(n));
                }
            }
        }
    }

    #[test]
    fn the_largest_that_is_taken_is_what_is_said() {
        for memory in ALL {
            for room in [1000, 1 << 20, 64 << 20, 256 << 20] {
                let level = memory.build::<u32>(room);
                let largest = u32::try_from(level.largest()).unwrap();
                assert!(level.insert(key(1), entry(1, largest)), "{memory:?}");
                level.size();
                assert_eq!(value(&*level, 1), Some(1), "{memory:?}");
                assert!(!level.insert(key(1), entry(2, largest + 1)), "{memory:?}");
                level.size();
                assert_eq!(value(&*level, 1), None, "{memory:?}");
            }
        }
    }

    #[test]
    fn a_room_of_several_parts_is_bounded_as_a_whole_and_used() {
        for memory in ALL {
            for room in [64 << 20, 256 << 20] {
                let level = memory.build::<u32>(room);
                for n in 0..10_000 {
                    level.insert(key(n), entry(n, 100_000));
                }
                let (_, weight) = level.size();
                assert!(weight <= room, "{memory:?}: {weight}");
                assert!(weight >= room / 10 * 9, "{memory:?}: {weight}");
            }
        }
    }

    #[test]
    fn what_went_and_comes_again_is_kept_also_if_it_is_large() {
        for memory in ALL {
            if *memory != Memory::QuickCache {
                // moka decides by chance, of what is not used as often.
                continue;
            }
            let level = memory.build::<u32>(1 << 20);
            let fill = || {
                for n in 0..1000 {
                    level.insert(key(n), entry(n, 1000));
                }
            };
            let large = || level.insert(key(5000), entry(1, 512 << 10));
            fill();
            assert!(large());
            fill();
            // It went, and everything else is in use.
            assert_eq!(value(&*level, 5000), None);
            assert!((0..1000).filter(|n| value(&*level, *n).is_some()).count() > 900);
            assert!(large());
            assert_eq!(value(&*level, 5000), Some(1));
        }
    }

    #[test]
    fn to_ask_whether_something_is_there_is_not_to_use_it() {
        for memory in ALL {
            let level = memory.build::<u32>(100_000);
            for n in 0..100 {
                level.insert(key(n), entry(n, 1000));
                level.size();
                // Those of the first half are used.
                let used = (0..50).filter(|n| value(&*level, *n).is_some());
                let seen = (50..100).filter(|n| level.has(&key(*n)));
                assert_eq!((used.count() + seen.count()) as u32, n + 1, "{memory:?}");
            }
            for n in 1000..1040 {
                // moka lets in what was asked for more often than what is to go.
                assert!((0..20).all(|_| value(&*level, n).is_none()));
                level.insert(key(n), entry(n, 1000));
                level.size();
            }
            let left = |of: std::ops::Range<u32>| of.filter(|n| level.has(&key(*n))).count();
            assert!(left(0..50) > left(50..100), "{memory:?}");
        }
    }

    #[test]
    fn a_scan_does_not_push_out_what_is_in_use_but_from_an_lru() {
        for memory in ALL {
            let level = memory.build::<u32>(1 << 20);
            let used = || (0..100).map(|n| value(&*level, n));
            for n in 0..100 {
                level.insert(key(n), entry(n, 1000));
            }
            for _ in 0..20 {
                assert_eq!(used().flatten().count(), 100, "{memory:?}");
                level.size();
            }
            for n in 1000..20_000 {
                level.insert(key(n), entry(n, 1000));
            }
            level.size();
            let left = used().flatten().count();
            match memory {
                #[cfg(feature = "moka")]
                Memory::Moka(Eviction::Lru) => assert_eq!(left, 0),
                _ => assert!(left >= 90, "{memory:?}: {left}"),
            }
        }
    }

    /// A value whose drop looks into the level that it was in.
    struct Looks(std::sync::Weak<Box<dyn L1<Looks>>>, u32);

    impl Drop for Looks {
        fn drop(&mut self) {
            if let Some(level) = self.0.upgrade() {
                drop(level.get(&key(self.1)));
                level.size();
                level.remove(&key(self.1));
            }
        }
    }

    #[test]
    fn a_value_that_is_dropped_may_use_the_level() {
        for memory in ALL {
            let level = Arc::new(memory.build::<Looks>(100_000));
            let looks = |n| entry(Looks(Arc::downgrade(&level), n), 1000);
            for n in 0..1000 {
                level.insert(key(n), looks(n + 1));
                level.insert(key(n % 10), looks(n));
                level.remove(&key(n / 2));
            }
            level.clear();
            level.size();
        }
    }
}
