//! Caches in memory: the raw get, and the call that would fill, when everything is there. One thread, and two on the same keys.
//!
//! Each is set up as its documentation shows: 1024 keys like `product:17` that are asked for in turn, values of a kilobyte, room for ten times as
//! many, a lifetime of an hour where there is one. Values are shared and not copied, but by who stores them in another form. `bare` is the way through the
//! keys.

use std::convert::Infallible;
use std::future::ready;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use buttress_cache::{Cache, Eviction, Memory};
use cached::ShardedLruTtlCache;
use criterion::{Criterion, criterion_group, criterion_main};
use hitbox::policy::PolicyConfig;
use hitbox_fn::prelude::cached as hitbox_cached;
use hitbox_moka::MokaBackend;
use peers::{both_ways, poll};
use tower_layer::Layer;
use tower_resilience_cache::CacheLayer;
use tower_service::Service;

const KEYS: usize = 1024;
const ROOM: usize = 10 * KEYS;
const HOUR: Duration = Duration::from_secs(3600);

type Value = Arc<Vec<u8>>;

fn key(n: usize) -> String {
    format!("product:{n}")
}

fn keys() -> Arc<[String]> {
    (0..KEYS).map(key).collect()
}

fn value() -> Value {
    Arc::new(vec![7; 1024])
}

/// Calls `get` with one key after the other, each thread from a place of its own.
fn in_turn<T>(mut get: impl FnMut(&str) -> T + Send) -> impl FnMut() + Send {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    let keys = keys();
    let mut next = THREADS.fetch_add(1, Ordering::Relaxed) * KEYS / 3;
    move || {
        next += 1;
        drop(get(&keys[next % KEYS]));
    }
}

fn ours(memory: Memory) -> Cache<Vec<u8>> {
    let cache = Cache::builder()
        .memory(memory)
        .ttl(HOUR)
        .weigher(|_, value: &Vec<u8>| value.len());
    let cache = cache.build();
    for n in 0..KEYS {
        // What belongs to three tags, as all of it does in a shop.
        let set = cache.set(key(n), vec![7; 1024]).tags(["shop:1", "brand:3"]);
        set.tags([format!("category:{}", n % 10)]).store();
    }
    cache
}

/// A key that is looked at, and not up.
fn bare(criterion: &mut Criterion, id: &str) {
    both_ways(criterion, id, || in_turn(|key| black_box(key).len()));
}

fn get(criterion: &mut Criterion) {
    bare(criterion, "cache/get/bare");
    let sync = moka::sync::Cache::<String, Value>::builder()
        .max_capacity(ROOM as u64)
        .time_to_live(HOUR)
        .build();
    (0..KEYS).for_each(|n| sync.insert(key(n), value()));
    both_ways(criterion, "cache/get/moka-sync", || {
        in_turn(|key| sync.get(key))
    });

    let future = moka::future::Cache::<String, Value>::builder()
        .max_capacity(ROOM as u64)
        .time_to_live(HOUR)
        .build();
    (0..KEYS).for_each(|n| poll(future.insert(key(n), value())));
    both_ways(criterion, "cache/get/moka-future", || {
        in_turn(|key| poll(future.get(key)))
    });

    let quick = quick_cache::sync::Cache::<String, Value>::new(ROOM);
    (0..KEYS).for_each(|n| quick.insert(key(n), value()));
    both_ways(criterion, "cache/get/quick_cache", || {
        in_turn(|key| quick.get(key))
    });

    let foyer: foyer::Cache<String, Value> = foyer::CacheBuilder::new(ROOM).build();
    (0..KEYS).for_each(|n| drop(foyer.insert(key(n), value())));
    both_ways(criterion, "cache/get/foyer", || {
        in_turn(|key| foyer.get(key))
    });

    let cached = ShardedLruTtlCache::<String, Value>::builder()
        .max_size(ROOM)
        .ttl(HOUR);
    let cached = cached.build().expect("valid");
    (0..KEYS).for_each(|n| drop(cached.set(key(n), value())));
    both_ways(criterion, "cache/get/cached", || {
        in_turn(|key| cached.get(key))
    });

    for (id, memory) in mine() {
        let cache = ours(memory);
        let id = format!("cache/get/{id}");
        both_ways(criterion, &id, || in_turn(|key| cache.get(key).now()));
    }
}

fn mine() -> [(&'static str, Memory); 2] {
    [
        ("ours", Memory::default()),
        ("ours-moka", Memory::Moka(Eviction::TinyLfu)),
    ]
}

#[hitbox_cached]
async fn product(key: String) -> String {
    drop(key);
    "7".repeat(1024)
}

/// The work of all of them, where it is done.
#[derive(Clone, Copy)]
struct Source;

impl Service<String> for Source {
    type Response = Value;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Value, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: String) -> Self::Future {
        ready(Ok(value()))
    }
}

#[cached::macros::concurrent_cached(max_size = 10_240, ttl_secs = 3600)]
async fn cached_product(key: String) -> Value {
    drop(key);
    value()
}

fn get_or_set(criterion: &mut Criterion) {
    bare(criterion, "cache/get-or-set/bare");
    let future = moka::future::Cache::<String, Value>::builder()
        .max_capacity(ROOM as u64)
        .time_to_live(HOUR)
        .build();
    both_ways(criterion, "cache/get-or-set/moka-future", || {
        in_turn(|key| poll(future.get_with_by_ref(key, async { value() })))
    });

    let quick = quick_cache::sync::Cache::<String, Value>::new(ROOM);
    both_ways(criterion, "cache/get-or-set/quick_cache", || {
        in_turn(|key| poll(quick.get_or_insert_async(key, async { Ok::<_, Infallible>(value()) })))
    });

    let foyer: foyer::Cache<String, Value> = foyer::CacheBuilder::new(ROOM).build();
    let runtime = peers::runtime();
    // It is called inside of a runtime, too.
    let fill = async |key: &str| {
        let call = foyer.get_or_fetch(key, || async { Ok::<_, Infallible>(value()) });
        call.await
    };
    (0..KEYS).for_each(|n| drop(runtime.block_on(fill(&key(n)))));
    both_ways(criterion, "cache/get-or-set/foyer", || {
        in_turn(|key| poll(foyer.get_or_fetch(key, || async { Ok::<_, Infallible>(value()) })))
    });

    both_ways(criterion, "cache/get-or-set/cached", || {
        in_turn(|key| poll(cached_product(key.to_owned())))
    });

    let layer = CacheLayer::builder()
        .max_size(ROOM)
        .ttl(HOUR)
        .key_extractor(|key: &String| key.clone());
    let service = layer.build().expect("valid").layer(Source);
    both_ways(criterion, "cache/get-or-set/tower-resilience", || {
        let mut service = service.clone();
        in_turn(move |key| poll(service.call(key.to_owned())))
    });

    let hitbox = hitbox_fn::Cache::builder()
        .backend(MokaBackend::builder().max_entries(ROOM as u64).build())
        .policy(PolicyConfig::builder().ttl(HOUR).build())
        .build();
    both_ways(criterion, "cache/get-or-set/hitbox", || {
        in_turn(|key| poll(product(key.to_owned()).cache(&hitbox).into_future()))
    });

    for (id, memory) in mine() {
        let cache = ours(memory);
        both_ways(criterion, &format!("cache/get-or-set/{id}"), || {
            in_turn(|key| {
                let call = cache.get_or_set(key, |fill| {
                    fill.tags(["shop:1", "brand:3", "category:1"]);
                    ready(Ok::<_, Infallible>(Some(vec![7; 1024])))
                });
                poll(call).map(|hit| hit.map(|hit| hit.len()))
            })
        });
    }
}

criterion_group!(benches, get, get_or_set);
criterion_main!(benches);
