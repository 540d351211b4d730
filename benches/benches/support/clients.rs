//! The same call by several clients at once: what it takes them together, and what each of them sees.
#![expect(
    clippy::print_stdout,
    reason = "latencies belong beside what criterion prints"
)]

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use criterion::Criterion;
use tokio::runtime::Runtime;

/// How many clients there are.
pub(crate) const COUNTS: [usize; 3] = [1, 16, 64];

/// Criterion's estimate is the time per call over all clients; below it stand the latencies that one client sees.
pub(crate) fn bench<T, F, Fut>(
    criterion: &mut Criterion,
    runtime: &Runtime,
    id: &str,
    clients: usize,
    on: &T,
    call: F,
) where
    T: Clone + Send + 'static,
    F: Fn(T) -> Fut + Copy + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let seen = Arc::new(Mutex::new(Vec::new()));
    criterion.bench_function(id, |bencher| {
        bencher.iter_custom(|times| {
            runtime.block_on(async {
                let started = now();
                let clients: Vec<_> = (0..clients as u64)
                    .map(|n| {
                        let times = times / clients as u64 + u64::from(n < times % clients as u64);
                        tokio::spawn(client(times, on.clone(), call, Arc::clone(&seen)))
                    })
                    .collect();
                for client in clients {
                    client.await.unwrap();
                }
                started.elapsed()
            })
        });
    });
    let mut seen = seen.lock().unwrap();
    seen.sort_unstable();
    if let Some(last) = seen.len().checked_sub(1) {
        let at = |percent: usize| seen[last * percent / 100];
        println!("{id:<40} p50 {:?}, p99 {:?}\n", at(50), at(99));
    }
}

/// A server that is not installed takes nothing else with it.
pub(crate) fn skipped(what: &str, missing: &std::io::Error) {
    println!("{what}: skipped, {missing}");
}

async fn client<T, F, Fut>(times: u64, on: T, call: F, seen: Arc<Mutex<Vec<Duration>>>)
where
    T: Clone,
    F: Fn(T) -> Fut,
    Fut: Future<Output = ()>,
{
    let mut mine = Vec::new();
    for _ in 0..times {
        let began = now();
        call(on.clone()).await;
        mine.push(began.elapsed());
    }
    seen.lock().unwrap().extend(mine);
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
