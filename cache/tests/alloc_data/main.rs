//! What the data cache allocates, as assertions. A binary of its own, since the allocator counts for the whole process.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::future::ready;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use buttress_cache::{Builder, Cache, Memory};
use testkit::alloc::{Counting, count};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What is ready at once.
fn poll<T>(work: impl Future<Output = T>) -> T {
    let mut cx = Context::from_waker(Waker::noop());
    match pin!(work).poll(&mut cx) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing here waits"),
    }
}

fn builder() -> Builder<u64> {
    // All that a hit looks at.
    Cache::builder()
        .grace(Duration::from_secs(60))
        .soft_timeout(Duration::from_secs(1))
        .hard_timeout(Duration::from_secs(1))
        .eager(0.9)
        .xfetch(1.0)
}

const MEMORIES: &[Memory] = &[
    Memory::QuickCache,
    #[cfg(feature = "moka")]
    Memory::Moka(buttress_cache::Eviction::TinyLfu),
    #[cfg(feature = "moka")]
    Memory::Moka(buttress_cache::Eviction::Lru),
];

/// A product with three tags and a dependency.
fn get_or_set(cache: &Cache<u64>, key: &str) -> u64 {
    let call = cache.get_or_set(key, |fill| {
        fill.tag("category:7").tag("brand:3").tag("shop:1");
        fill.depends_on("brand:3");
        ready(Ok::<_, Infallible>(Some(7)))
    });
    let hit = poll(call.tags(["product"])).unwrap();
    *hit.unwrap()
}

/// Of many, since what a first one may allocate does not count.
fn least(mut work: impl FnMut()) -> u64 {
    let counts = (0..200).map(|_| count(&mut work).0.count);
    counts.min().unwrap()
}

#[tokio::test]
async fn a_hit_allocates_nothing() {
    for cache in MEMORIES
        .iter()
        .map(|memory| builder().memory(*memory).build())
    {
        let alice = cache.namespace("shop").partition("alice");
        assert_that_a_hit_allocates_nothing(&cache);
        assert_that_a_hit_allocates_nothing(&alice);
        assert_eq!(cache.snapshot().fills, 2);
    }
}

fn assert_that_a_hit_allocates_nothing(cache: &Cache<u64>) {
    get_or_set(cache, "product:42");
    assert_eq!(least(|| assert_eq!(get_or_set(cache, "product:42"), 7)), 0);
    assert_eq!(
        least(|| assert_eq!(*cache.get("product:42").now().unwrap(), 7)),
        0
    );
    assert_eq!(
        least(|| assert!(poll(cache.get("product:42")).is_some())),
        0
    );
    assert_eq!(
        least(|| assert!(cache.get("product:43").now().is_none())),
        0
    );
}

#[tokio::test]
async fn a_hit_on_what_is_being_refreshed_allocates_nothing() {
    let tasks = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&tasks);
    let cache = Cache::builder().eager(0.0);
    let cache = cache
        .spawner(move |task| sink.lock().unwrap().push(task))
        .build();
    (0..2).for_each(|_| assert_eq!(get_or_set(&cache, "product:42"), 7));
    assert_eq!(tasks.lock().unwrap().len(), 1);
    assert_eq!(least(|| assert_eq!(get_or_set(&cache, "product:42"), 7)), 0);
    assert_eq!(tasks.lock().unwrap().len(), 1);
}

#[test]
fn an_invalidation_allocates_little_and_keeps_nothing() {
    let cache = builder().build();
    let invalidate = || cache.invalidate(["category:7", "brand:3"]).now();
    // The pages of the slots.
    invalidate();
    assert_eq!(least(invalidate), 1);
    assert_eq!(least(|| drop(cache.guard(["category:7"]))), 1);
}

#[test]
fn the_future_of_a_call_is_small() {
    let cache = builder().build();
    let call = cache.get_or_set("k", |_| ready(Ok::<_, Infallible>(Some(7))));
    assert!(size_of_val(&call) <= 232, "{}", size_of_val(&call));
}
