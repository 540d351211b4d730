//! The cache's second level in a real Redis on this machine: a read, a write and an invalidation under 1, 16 and 64 clients, and how long a process takes to be in step with a
//! clock of the default size.
#![allow(clippy::unwrap_used)]

#[path = "support/clients.rs"]
mod clients;

use std::time::Duration;

use buttress_cache::Cache;
use buttress_cache::l2::{Raw, RedisL2, SecondLevel};
use bytes::Bytes;
use criterion::Criterion;
use testkit::server::Redis;
use tokio::runtime::{Builder, Runtime};

fn main() {
    let mut criterion = Criterion::default().configure_from_args().sample_size(10);
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    let server = match Redis::start() {
        Ok(server) => server,
        Err(missing) => return clients::skipped("cache/l2", &missing),
    };
    let cache = runtime.block_on(join(&server));
    for clients in clients::COUNTS {
        for size in [1 << 10, 64 << 10] {
            reads(&mut criterion, &runtime, &cache, clients, size);
        }
        writes(&mut criterion, &runtime, &cache, clients);
    }
    resync(&mut criterion, &runtime, &server, &cache);
    criterion.final_summary();
}

/// One more process, which is in step.
async fn join(server: &Redis) -> Cache<Bytes> {
    let l2 = RedisL2::open(&server.url(), "bench").unwrap();
    // That the machine is busy is no reason to give up here.
    let level = SecondLevel::new(l2, Raw).timeout(Duration::from_secs(10));
    let cache = Cache::builder().l2(level).build();
    while cache.snapshot().lag.is_none() {
        tokio::task::yield_now().await;
    }
    cache
}

fn reads(
    criterion: &mut Criterion,
    runtime: &Runtime,
    cache: &Cache<Bytes>,
    clients: usize,
    size: usize,
) {
    let key = if size == 1 << 10 { "1k" } else { "64k" };
    runtime.block_on(async { cache.set(key, Bytes::from(vec![b'x'; size])).await });
    let id = format!("cache/l2-get/{key}/{clients}");
    clients::bench(
        criterion,
        runtime,
        &id,
        clients,
        cache,
        move |cache| async move {
            let fill = |_| async { Err::<Option<Bytes>, _>("not there") };
            // Where the machine stands still for longer than the second level may, it is not believed for a moment.
            while cache.get_or_set(key, fill).skip_memory().await.is_err() {
                tokio::task::yield_now().await;
            }
        },
    );
}

fn writes(criterion: &mut Criterion, runtime: &Runtime, cache: &Cache<Bytes>, clients: usize) {
    let id = format!("cache/l2-set/1k/{clients}");
    clients::bench(
        criterion,
        runtime,
        &id,
        clients,
        cache,
        |cache| async move {
            cache.set("set", Bytes::from_static(&[b'x'; 1 << 10])).await;
        },
    );
    let id = format!("cache/l2-invalidate/three-tags/{clients}");
    clients::bench(
        criterion,
        runtime,
        &id,
        clients,
        cache,
        |cache| async move {
            cache.invalidate(["one", "two", "three"]).await.unwrap();
        },
    );
}

/// A process that starts, or was cut off for too long, reads the whole clock.
fn resync(criterion: &mut Criterion, runtime: &Runtime, server: &Redis, cache: &Cache<Bytes>) {
    runtime.block_on(async {
        for batch in 0..100 {
            let tags: Vec<_> = (0..1000).map(|n| format!("tag-{batch}-{n}")).collect();
            cache.invalidate(&tags).await.unwrap();
        }
    });
    criterion.bench_function("cache/l2-resync/default-slots", |bencher| {
        bencher.iter_custom(|times| {
            runtime.block_on(async {
                let started = clients::now();
                for _ in 0..times {
                    drop(join(server).await);
                }
                started.elapsed()
            })
        });
    });
}
