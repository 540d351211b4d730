//! The data cache: a call that finds something, and one that stores it, by one thread and by two at the same key. `bare` is the call of a source that has the value at once.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use buttress_cache::{Builder, Cache, Event, Eviction, Memory};
use criterion::Criterion;

use super::threads::both_ways;

const KEY: &str = "product:42";
const MOMENT: Duration = Duration::from_nanos(1);
const A_DAY: Duration = Duration::from_hours(24);

/// What is kept is shared by who finds it, and not copied.
type Value = Arc<[u8]>;

fn value(len: usize) -> Value {
    vec![7; len].into()
}

/// With what is under the key in it.
fn filled(builder: Builder<Value>) -> Cache<Value> {
    let cache = builder.build();
    cache.set(KEY, value(1 << 10)).store();
    cache
}

/// What keeps it.
pub(super) fn first_levels(criterion: &mut Criterion) {
    bare(criterion, "cache/first-level/bare");
    for (name, memory) in [
        ("quick", Memory::QuickCache),
        ("moka", Memory::Moka(Eviction::TinyLfu)),
        ("moka-lru", Memory::Moka(Eviction::Lru)),
    ] {
        let cache = filled(Cache::builder().memory(memory));
        finds(criterion, &format!("cache/first-level/{name}"), &cache);
    }
}

/// For how long, and when it is read anew. None of these is due.
pub(super) fn lifetimes(criterion: &mut Criterion) {
    let builder = Cache::builder;
    bare(criterion, "cache/lifetime/bare");
    for (name, builder) in [
        ("default", builder()),
        ("jitter", builder().jitter(0.1)),
        ("grace", builder().grace(A_DAY)),
        ("soft-timeout", builder().soft_timeout(A_DAY)),
        ("hard-timeout", builder().hard_timeout(A_DAY)),
        ("eager", builder().ttl(A_DAY).eager(1.0)),
        ("xfetch", builder().ttl(A_DAY).xfetch(1.0)),
    ] {
        finds(
            criterion,
            &format!("cache/lifetime/{name}"),
            &filled(builder),
        );
    }
    let known = Cache::<Value>::builder().negative_ttl(A_DAY).build();
    let nothing = || ready(Ok::<_, Infallible>(None));
    both_ways(criterion, "cache/lifetime/negative", || {
        || assert!(now(known.get_or_set(KEY, move |_| nothing())).is_ok_and(|hit| hit.is_none()))
    });
}

/// A value past its time, where the source fails: served each time after it was asked, or without asking it for a while. And one whose time is not up that each call reads anew.
pub(super) fn stale(criterion: &mut Criterion) {
    bare(criterion, "cache/stale/bare");
    finds(criterion, "cache/stale/fresh", &filled(Cache::builder()));
    for (name, throttle) in [("fail-safe", Duration::ZERO), ("throttled", A_DAY)] {
        let builder = Cache::builder().ttl(MOMENT).grace(A_DAY);
        let cache = filled(builder.throttle(throttle));
        both_ways(criterion, &format!("cache/stale/{name}"), || {
            || {
                let fill = |_| ready(Err::<Option<Value>, _>("the source is down"));
                assert!(now(cache.get_or_set(KEY, fill)).is_ok_and(|hit| hit.is_some()));
            }
        });
    }
    let eager = Cache::builder().eager(0.0).spawner(to_the_end);
    finds(criterion, "cache/stale/read-anew", &filled(eager));
}

/// By who calls, at once: the refresh is in the time.
fn to_the_end(task: Pin<Box<dyn Future<Output = ()> + Send>>) {
    now(task);
}

/// What a key is made of.
pub(super) fn keys(criterion: &mut Criterion) {
    key(criterion, "number", 4711_u64.to_be_bytes());
    key(criterion, "text", "shop.example/products/4711");
    key(criterion, "text-of-256", "p".repeat(256));
}

fn key(criterion: &mut Criterion, name: &str, key: impl AsRef<[u8]> + Sync) {
    let cache = Cache::builder().build();
    cache.set(&key, value(1 << 10)).store();
    both_ways(criterion, &format!("cache/key/{name}"), || {
        || assert!(cache.get(black_box(&key)).now().is_some())
    });
}

/// What a value belongs to. Something else was invalidated, so that there is a reason to look.
pub(super) fn tags(criterion: &mut Criterion) {
    for (name, count) in [("none", 0), ("4-tags", 4), ("16-tags", 16)] {
        let tags: Vec<String> = (0..count).map(|n| format!("category:{n}")).collect();
        let cache = Cache::builder().build();
        cache.invalidate(&tags).now();
        cache.set(KEY, value(1 << 10)).tags(&tags).store();
        cache.invalidate(["another"]).now();
        finds(criterion, &format!("cache/tags-found/{name}"), &cache);
        let value = value(1 << 10);
        both_ways(criterion, &format!("cache/tags-set/{name}"), || {
            || drop(cache.set(KEY, Arc::clone(&value)).tags(&tags).store())
        });
    }
}

/// What is kept, weighed: found, and put in the place of the one before, where `bare` makes it and gives it away.
pub(super) fn values(criterion: &mut Criterion) {
    for (size, len) in [("1k", 1 << 10), ("64k", 64 << 10), ("1m", 1 << 20)] {
        let cache = Cache::builder().weigher(|_, value: &Value| value.len());
        let cache = cache.build();
        cache.set(KEY, value(len)).store();
        finds(criterion, &format!("cache/value-found/{size}"), &cache);
        let id = |name: &str| format!("cache/value-set-{size}/{name}");
        both_ways(criterion, &id("bare"), || || drop(black_box(value(len))));
        both_ways(criterion, &id("set"), || {
            || drop(cache.set(KEY, value(len)).store())
        });
    }
}

/// Who hears of a hit, and of what is stored.
pub(super) fn observers(criterion: &mut Criterion) {
    for (name, builder) in [
        ("none", Cache::builder()),
        ("one", Cache::builder().observer(ignore)),
    ] {
        let cache = filled(builder);
        finds(criterion, &format!("cache/observer-found/{name}"), &cache);
        let value = value(1 << 10);
        both_ways(criterion, &format!("cache/observer-set/{name}"), || {
            || drop(cache.set(KEY, Arc::clone(&value)).store())
        });
    }
}

fn ignore(_: &Event<'_>) {}

fn bare(criterion: &mut Criterion, id: &str) {
    let value = value(1 << 10);
    both_ways(criterion, id, || || drop(black_box(now(source(&value)))));
}

fn source(value: &Value) -> impl Future<Output = Result<Option<Value>, Infallible>> + Send + use<> {
    ready(Ok(Some(Arc::clone(value))))
}

fn finds(criterion: &mut Criterion, id: &str, cache: &Cache<Value>) {
    let value = value(1 << 10);
    both_ways(criterion, id, || {
        || {
            let value = Arc::clone(&value);
            let found = now(cache.get_or_set(KEY, move |_| source(&value)));
            assert!(found.is_ok_and(|hit| hit.is_some()));
        }
    });
}

/// Nobody is waited for but, for a moment, the other thread.
fn now<F: Future>(work: F) -> F::Output {
    let (mut work, mut cx) = (pin!(work), Context::from_waker(Waker::noop()));
    loop {
        if let Poll::Ready(output) = work.as_mut().poll(&mut cx) {
            return output;
        }
        std::hint::spin_loop();
    }
}
