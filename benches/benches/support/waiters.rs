//! Many tasks that ask for the same at once. `benches/peers` has this file, too: the same frame for all.

use std::fs;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// The work.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Done at once.
    Now,
    /// Done when everybody else who is awake has had a turn.
    Later,
    /// Done after 300 ms.
    Slow,
}

pub(crate) async fn work(work: Work) -> u64 {
    match work {
        Work::Now => {}
        Work::Later => tokio::task::yield_now().await,
        Work::Slow => tokio::time::sleep(Duration::from_millis(300)).await,
    }
    7
}

/// One way of doing work of a key once.
pub(crate) trait Peer: Clone + Send + 'static {
    fn run(&self, key: u64, how: Work) -> impl Future<Output = u64> + Send;

    /// Forgets the value, where a flight leaves one behind: once for all who shared it.
    fn forget(&self, _: u64) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// Each does his own.
#[derive(Clone)]
pub(crate) struct Bare;

impl Peer for Bare {
    async fn run(&self, _: u64, how: Work) -> u64 {
        work(how).await
    }
}

/// So many tasks that ask for the same, in a runtime of one thread, and in one of two: the time of each, with its task.
pub(crate) fn waiters(criterion: &mut Criterion, name: &str, peer: &impl Peer, count: u32) {
    let id = format!("dedup/{count}-waiters/{name}");
    waiters_in(criterion, &id, &runtime(), peer, count);
    let id = format!("{id}/2-threads");
    waiters_in(criterion, &id, &runtime_of_two(), peer, count);
}

#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn waiters_in(
    criterion: &mut Criterion,
    id: &str,
    runtime: &Runtime,
    peer: &impl Peer,
    count: u32,
) {
    criterion.bench_function(id, |bencher| {
        bencher.iter_custom(|times| {
            let start = Instant::now();
            (0..times).for_each(|_| ask(runtime, peer, count, Work::Later));
            start.elapsed() / count
        });
    });
}

/// A hundred tasks that wait for 300 ms: the processor's time, for all of them.
pub(crate) fn slow(criterion: &mut Criterion, name: &str, peer: &impl Peer) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("dedup/100-waiters-300ms-cpu");
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.warm_up_time(Duration::from_millis(300));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|times| {
            let before = on_processor();
            (0..times).for_each(|_| ask(&runtime, peer, 100, Work::Slow));
            on_processor() - before
        });
    });
}

/// From a task as well: what makes the tasks is then on one of the runtime's threads, and no third one has a part in it.
fn ask(runtime: &Runtime, peer: &impl Peer, count: u32, how: Work) {
    let asked = runtime.spawn(all(peer.clone(), count, how));
    runtime.block_on(asked).expect("no panic");
}

async fn all(peer: impl Peer, count: u32, how: Work) {
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        let peer = peer.clone();
        tasks.spawn(async move { peer.run(42, how).await });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no panic");
    }
    peer.forget(42).await;
}

/// How long this thread has been on a processor.
fn on_processor() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").expect("linux");
    let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("a number"))
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder
        .enable_time()
        .build()
        .expect("a runtime without I/O")
}

fn runtime_of_two() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime without I/O")
}
