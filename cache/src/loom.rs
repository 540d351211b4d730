//! Small stories of two threads, told in every possible order.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc as StdArc;

use ::loom::future::block_on;
use ::loom::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use ::loom::sync::{Arc, Mutex};
use ::loom::thread;

use crate::clock::{Depth, InvalidationClock, Name, SlotBits, Validity};
use crate::entry::Entry;
use crate::l1::L1;
use crate::{Cache, Fill, Memory};

/// Two preemptions are where the bugs are; without a bound, a story with wakers in it never ends.
fn explore(story: impl Fn() + Send + Sync + 'static) {
    let mut model = ::loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(2));
    model.check(move || {
        // Each time the same slots.
        fastrand::seed(1);
        story();
    });
}

/// A clock, and a source that is changed from 0 to 1.
struct World {
    clock: InvalidationClock,
    source: AtomicU32,
    slots: [u32; 2],
}

fn world() -> Arc<World> {
    let clock = InvalidationClock::new(SlotBits::FEW);
    let tag = |tag| clock.slot(Name::Tag { space: b"", tag });
    Arc::new(World {
        slots: [tag("a"), tag("b")],
        clock,
        source: AtomicU32::new(0),
    })
}

#[test]
fn loom_what_was_read_before_a_change_is_invalid_after_it() {
    explore(|| {
        let world = world();
        let theirs = Arc::clone(&world);
        let fill = thread::spawn(move || {
            let stamp = theirs.clock.stamp();
            (stamp, theirs.source.load(Ordering::Acquire))
        });
        world.source.store(1, Ordering::Release);
        let _ = world.clock.invalidate(world.slots, Depth::Expire);
        let (stamp, read) = fill.join().unwrap();
        let valid = world.clock.check(stamp, &world.slots) == Validity::Valid;
        assert!(read == 1 || !valid, "it is resurrected");
        assert!(world.clock.check(world.clock.stamp(), &world.slots) == Validity::Valid);
    });
}

#[test]
fn loom_who_knows_that_an_invalidation_is_done_sees_it_in_each_slot() {
    explore(|| {
        let world = world();
        let done = Arc::new(AtomicBool::new(false));
        let before = world.clock.stamp();
        let (theirs, is_done) = (Arc::clone(&world), Arc::clone(&done));
        let reader = thread::spawn(move || {
            if is_done.load(Ordering::Acquire) {
                for slot in theirs.slots {
                    assert_ne!(theirs.clock.check(before, &[slot]), Validity::Valid);
                }
            }
        });
        let _ = world.clock.invalidate(world.slots, Depth::Remove);
        done.store(true, Ordering::Release);
        reader.join().unwrap();
    });
}

#[test]
fn loom_an_invalidation_beside_another_holds_for_what_began_between_them() {
    explore(|| {
        let world = world();
        let theirs = Arc::clone(&world);
        let change = thread::spawn(move || {
            theirs.source.store(1, Ordering::Release);
            let _ = theirs.clock.invalidate([theirs.slots[0]], Depth::Expire);
        });
        let _ = world.clock.invalidate([world.slots[1]], Depth::Expire);
        let stamp = world.clock.stamp();
        let read = world.source.load(Ordering::Acquire);
        change.join().unwrap();
        let valid = world.clock.check(stamp, &world.slots) == Validity::Valid;
        assert!(read == 1 || !valid, "it is resurrected");
    });
}

#[test]
fn loom_a_late_invalidation_does_not_undo_a_later_one() {
    explore(|| {
        let world = world();
        let theirs = Arc::clone(&world);
        let late = thread::spawn(move || theirs.clock.invalidate(theirs.slots, Depth::Expire));
        let before = world.clock.stamp();
        let _ = world.clock.invalidate(world.slots, Depth::Expire);
        late.join().unwrap();
        for slot in world.slots {
            assert_eq!(world.clock.check(before, &[slot]), Validity::Expired);
        }
        let after = world.clock.stamp();
        assert_eq!(world.clock.check(after, &world.slots), Validity::Valid);
    });
}

#[test]
fn loom_a_clear_takes_what_was_read_before_it() {
    explore(|| {
        let world = world();
        let theirs = Arc::clone(&world);
        let fill = thread::spawn(move || {
            let stamp = theirs.clock.stamp();
            (stamp, theirs.source.load(Ordering::Acquire))
        });
        world.source.store(1, Ordering::Release);
        let _ = world.clock.clear();
        let (stamp, read) = fill.join().unwrap();
        assert!(read == 1 || world.clock.check(stamp, &[]) == Validity::Removed);
    });
}

/// Somebody invalidates before the change is committed, and guards both.
#[test]
fn loom_nothing_that_was_read_under_a_guard_is_stored_and_valid() {
    explore(|| {
        let world = world();
        let theirs = Arc::clone(&world);
        let fill = thread::spawn(move || {
            let stamp = theirs.clock.stamp();
            let read = theirs.source.load(Ordering::Acquire);
            let stored = !theirs.clock.is_guarded(stamp, &theirs.slots[..1]);
            (stamp, read, stored)
        });
        let _ = world.clock.guard(&world.slots[..1]);
        let _ = world.clock.invalidate([world.slots[0]], Depth::Expire);
        world.source.store(1, Ordering::Release);
        let _ = world.clock.unguard(&world.slots[..1]);
        let (stamp, read, stored) = fill.join().unwrap();
        let valid = world.clock.check(stamp, &world.slots[..1]) == Validity::Valid;
        assert!(read == 1 || !stored || !valid, "it is resurrected");
        assert!(!world.clock.is_guarded(world.clock.stamp(), &world.slots));
    });
}

fn read(cache: &Cache<u32>, source: &Arc<AtomicU32>) -> u32 {
    let source = Arc::clone(source);
    let call = cache.get_or_set("k", move |fill: Fill<u32>| {
        fill.tag("t");
        ready(Ok::<_, Infallible>(Some(source.load(Ordering::Acquire))))
    });
    *block_on(call).unwrap().unwrap()
}

/// A level whose lock loom knows.
pub(crate) struct Plain<V>(Mutex<HashMap<StdArc<[u8]>, StdArc<Entry<V>>>>);

impl<V> Plain<V> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<V: Send + Sync> L1<V> for Plain<V> {
    fn get(&self, full: &[u8]) -> Option<StdArc<Entry<V>>> {
        self.0.lock().unwrap().get(full).cloned()
    }

    fn has(&self, full: &[u8]) -> bool {
        self.0.lock().unwrap().contains_key(full)
    }

    fn insert(&self, full: StdArc<[u8]>, entry: StdArc<Entry<V>>) -> bool {
        self.0.lock().unwrap().insert(full, entry);
        true
    }

    fn largest(&self) -> u64 {
        u64::MAX
    }

    fn remove(&self, full: &[u8]) {
        self.0.lock().unwrap().remove(full);
    }

    fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    fn size(&self) -> (u64, u64) {
        (self.0.lock().unwrap().len() as u64, 0)
    }
}

fn cache() -> Cache<u32> {
    Cache::builder().few_slots().memory(Memory::Plain).build()
}

#[test]
fn loom_a_flight_from_before_an_invalidation_is_not_joined_by_who_comes_after_it() {
    explore(|| {
        let (cache, source) = (cache(), Arc::new(AtomicU32::new(0)));
        let (theirs, from) = (cache.clone(), Arc::clone(&source));
        let other = thread::spawn(move || read(&theirs, &from));
        source.store(1, Ordering::Release);
        cache.invalidate(["t"]).now();
        assert_eq!(read(&cache, &source), 1);
        other.join().unwrap();
        let stored = cache.get("k").now().map(|hit| *hit);
        assert_ne!(stored, Some(0), "it is resurrected");
        assert_eq!(cache.snapshot().filling, 0);
    });
}

#[test]
fn loom_a_call_that_is_dropped_leaves_no_one_waiting() {
    explore(|| {
        let (cache, source) = (cache(), Arc::new(AtomicU32::new(1)));
        let theirs = cache.clone();
        let other = thread::spawn(move || {
            let pending = |_| std::future::pending::<Result<Option<u32>, Infallible>>();
            let mut call = std::pin::pin!(theirs.get_or_set("k", pending));
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let _ = call.as_mut().poll(&mut cx);
        });
        assert_eq!(read(&cache, &source), 1);
        other.join().unwrap();
        assert_eq!(cache.snapshot().filling, 0);
    });
}
