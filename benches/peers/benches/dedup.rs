//! Single flight: a leader whom nobody follows (one thread, and two on many keys), 64 and 1000 waiters (tasks of one thread, and of two), and what a hundred waiters on a slow
//! operation cost the processor.
//!
//! Each is set up as its documentation shows. `bare` is the work alone: with waiters, each does its own.

#[path = "../../benches/support/waiters.rs"]
mod waiters;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};

use buttress_dedup::{Dedup, DedupLayer, Flights};
use criterion::{Criterion, criterion_group, criterion_main};
use peers::both_ways;
use tower::ServiceExt;
use tower_layer::Layer;
use tower_resilience_coalesce::CoalesceLayer;

use waiters::{Bare, Peer, Work, waiters, work};

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

/// A hundred that wait for 300 ms.
fn slow(criterion: &mut Criterion) {
    fn one(criterion: &mut Criterion, name: &str, peer: impl Peer) {
        waiters::slow(criterion, name, &peer);
    }
    each!(one, criterion);
}

criterion_group!(dedup, leader, waiters_64, waiters_1000, slow);
criterion_main!(dedup);
