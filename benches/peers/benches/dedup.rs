//! Single flight: a leader whom nobody follows (one thread, and two on many keys), 64 and 1000 waiters, and what a hundred waiters on a slow
//! operation cost the processor.
//!
//! Each is set up as its documentation shows. `bare` is the work alone: with waiters, each does its own.
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::convert::Infallible;
use std::fs;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use buttress_dedup::{Dedup, DedupLayer, Flights};
use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use peers::both_ways;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tower::ServiceExt;
use tower_layer::Layer;
use tower_resilience_coalesce::CoalesceLayer;

/// The work.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// Done at once.
    Now,
    /// Done when everybody else who is awake has had a turn.
    Later,
    /// Done after 300 ms.
    Slow,
}

async fn work(work: Work) -> u64 {
    match work {
        Work::Now => {}
        Work::Later => tokio::task::yield_now().await,
        Work::Slow => tokio::time::sleep(Duration::from_millis(300)).await,
    }
    7
}

/// One way of doing work of a key once.
trait Peer: Clone + Send + 'static {
    fn run(&self, key: u64, how: Work) -> impl Future<Output = u64> + Send;

    /// Forgets the value, where a flight leaves one behind: once for all who shared it.
    fn forget(&self, _: u64) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

#[derive(Clone)]
struct Bare;

impl Peer for Bare {
    async fn run(&self, _: u64, how: Work) -> u64 {
        work(how).await
    }
}

impl Peer for Flights<u64, u64> {
    fn run(&self, key: u64, how: Work) -> impl Future<Output = u64> + Send {
        Flights::run(self, key, move || work(how))
    }
}

type Request = (u64, Work);
type Serve = fn(Request) -> std::pin::Pin<Box<dyn Future<Output = Result<u64, Infallible>> + Send>>;

fn serve() -> tower::util::ServiceFn<Serve> {
    tower::service_fn(|(_, how)| Box::pin(async move { Ok(work(how).await) }))
}

type OurLayer =
    Dedup<tower::util::ServiceFn<Serve>, fn(&Request) -> Option<u64>, u64, u64, Infallible>;

fn our_layer() -> OurLayer {
    let key: fn(&Request) -> Option<u64> = |request| Some(request.0);
    DedupLayer::new(key).layer(serve())
}

/// A tower service.
#[derive(Clone)]
struct Tower<S>(S);

impl<S> Peer for Tower<S>
where
    S: tower::Service<Request, Response = u64> + Clone + Send + Sync + 'static,
    S::Error: std::fmt::Debug,
    S::Future: Send,
{
    async fn run(&self, key: u64, how: Work) -> u64 {
        let answer = self.0.clone().oneshot((key, how)).await;
        answer.expect("the work cannot fail")
    }
}

#[derive(Clone, Default)]
struct AsyncSingleflight(Arc<async_singleflight::Group<u64, u64, ()>>);

impl Peer for AsyncSingleflight {
    async fn run(&self, key: u64, how: Work) -> u64 {
        let worked = self.0.work(&key, async { Ok(work(how).await) }).await;
        worked.expect("the work cannot fail")
    }
}

#[derive(Clone, Default)]
struct SingleflightAsync(Arc<singleflight_async::SingleFlight<u64, u64>>);

impl Peer for SingleflightAsync {
    async fn run(&self, key: u64, how: Work) -> u64 {
        self.0.work(key, move || work(how)).await
    }
}

#[derive(Clone)]
struct RsSingleflight(rs_singleflight::Group<u64, u64, ()>);

impl Peer for RsSingleflight {
    async fn run(&self, key: u64, how: Work) -> u64 {
        let worked = self
            .0
            .do_call(key, move || async move { Ok(work(how).await) })
            .await;
        worked.expect("the work cannot fail")
    }
}

#[derive(Clone)]
struct Moka(moka::future::Cache<u64, u64>);

impl Peer for Moka {
    async fn run(&self, key: u64, how: Work) -> u64 {
        self.0.get_with(key, work(how)).await
    }

    /// Or it would be a hit the next time.
    async fn forget(&self, key: u64) {
        self.0.invalidate(&key).await;
    }
}

/// Calls a function with everybody.
macro_rules! each {
    ($measure:ident, $criterion:expr) => {
        $measure($criterion, "bare", Bare);
        $measure($criterion, "ours", Flights::new());
        $measure($criterion, "ours-layer", Tower(our_layer()));
        $measure(
            $criterion,
            "async_singleflight",
            AsyncSingleflight::default(),
        );
        $measure(
            $criterion,
            "singleflight-async",
            SingleflightAsync::default(),
        );
        $measure(
            $criterion,
            "rs-singleflight",
            RsSingleflight(rs_singleflight::Group::new()),
        );
        let coalesce = CoalesceLayer::new(|request: &Request| request.0);
        $measure(
            $criterion,
            "tower-resilience-coalesce",
            Tower(coalesce.layer(serve())),
        );
        $measure(
            $criterion,
            "moka-get_with",
            Moka(moka::future::Cache::new(10_000)),
        );
    };
}

/// Nobody follows; each thread has its own thousand keys.
fn leader(criterion: &mut Criterion) {
    fn one(criterion: &mut Criterion, name: &str, peer: impl Peer) {
        let threads = AtomicU64::new(0);
        both_ways(criterion, &format!("dedup/run/{name}"), || {
            let (peer, thread) = (peer.clone(), threads.fetch_add(1, Ordering::Relaxed));
            let mut call = 0;
            move || {
                call = (call + 1) % 1000;
                let key = thread * 1000 + call;
                now(async {
                    let value = peer.run(key, Work::Now).await;
                    peer.forget(key).await;
                    value
                })
            }
        });
    }
    each!(one, criterion);
}

/// Polls to the end. Nobody is waited for but, by some, another thread that is about to let go of a lock.
fn now<F: Future>(run: F) {
    let mut run = pin!(run);
    let mut cx = Context::from_waker(Waker::noop());
    while run.as_mut().poll(&mut cx).is_pending() {
        std::hint::spin_loop();
    }
}

fn waiters_64(criterion: &mut Criterion) {
    fn one(criterion: &mut Criterion, name: &str, peer: impl Peer) {
        waiters(criterion, name, &peer, 64);
    }
    each!(one, criterion);
}

fn waiters_1000(criterion: &mut Criterion) {
    fn one(criterion: &mut Criterion, name: &str, peer: impl Peer) {
        waiters(criterion, name, &peer, 1000);
    }
    each!(one, criterion);
}

/// So many tasks that ask for the same: the time of each, with its task.
fn waiters(criterion: &mut Criterion, name: &str, peer: &impl Peer, count: u32) {
    let runtime = runtime();
    criterion.bench_function(&format!("dedup/{count}-waiters/{name}"), |bencher| {
        bencher.iter_custom(|times| {
            let start = Instant::now();
            (0..times).for_each(|_| runtime.block_on(all(peer, count, Work::Later)));
            start.elapsed() / count
        });
    });
}

async fn all(peer: &impl Peer, count: u32, how: Work) {
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

/// A hundred tasks that wait for 300 ms: the processor's time, for all of them.
fn slow(criterion: &mut Criterion) {
    fn one(criterion: &mut Criterion, name: &str, peer: impl Peer) {
        let runtime = runtime();
        let mut group = criterion.benchmark_group("dedup/100-waiters-300ms-cpu");
        group.sampling_mode(SamplingMode::Flat).sample_size(10);
        group.warm_up_time(Duration::from_millis(300));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let before = on_processor();
                (0..times).for_each(|_| runtime.block_on(all(&peer, 100, Work::Slow)));
                on_processor() - before
            });
        });
    }
    each!(one, criterion);
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

criterion_group!(dedup, leader, waiters_64, waiters_1000, slow);
criterion_main!(dedup);
