//! Criterion on `rows/dedup.rs`; and on what stands beside peers without a promise: a layer, many tasks that ask for the same, and two threads with keys of their own.

mod support;
#[path = "support/threads.rs"]
mod threads;
#[path = "support/two_threads.rs"]
mod two_threads;
#[path = "support/waiters.rs"]
mod waiters;

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use benches::rows::dedup::ROWS;
use buttress_dedup::{Dedup, DedupLayer, Flights};
use criterion::Criterion;
use tower_layer::Layer;
use tower_service::Service;

use threads::both_ways;
use two_threads::two_threads;
use waiters::{Bare, Peer, Work, slow, waiters, work};

fn main() {
    support::bench(ROWS, |criterion| {
        run(criterion);
        for count in [64, 1000] {
            waiters(criterion, "bare", &Bare, count);
            waiters(criterion, "ours", &flights(), count);
            waiters(criterion, "ours-layer", &layer(), count);
        }
        slow(criterion, "bare", &Bare);
        slow(criterion, "ours", &flights());
        slow(criterion, "ours-layer", &layer());
    });
}

/// Nobody follows; each thread has its own thousand keys.
fn run(criterion: &mut Criterion) {
    two_threads(criterion, "dedup/run/bare", || alone(&Bare, 0));
    let (flights, layer, threads) = (flights(), layer(), AtomicU64::new(0));
    let thread = || threads.fetch_add(1, Ordering::Relaxed);
    two_threads(criterion, "dedup/run/ours", || alone(&flights, thread()));
    both_ways(criterion, "dedup/run/ours-layer", || {
        alone(&layer, thread())
    });
}

fn alone<P: Peer>(peer: &P, thread: u64) -> impl FnMut() + Send + use<P> {
    let (peer, mut call) = (peer.clone(), 0);
    move || {
        call = (call + 1) % 1000;
        let run = pin!(peer.run(thread * 1000 + call, Work::Now));
        let polled = run.poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_ready(), "nobody is waited for");
    }
}

fn flights() -> Flights<u64, u64> {
    Flights::new()
}

impl Peer for Flights<u64, u64> {
    fn run(&self, key: u64, how: Work) -> impl Future<Output = u64> + Send {
        Flights::run(self, key, move || work(how))
    }
}

type Request = (u64, Work);
type Layered = Dedup<Works, fn(&Request) -> Option<u64>, u64, u64, Infallible>;

fn layer() -> Layered {
    let key: fn(&Request) -> Option<u64> = |request| Some(request.0);
    DedupLayer::new(key).layer(Works)
}

impl Peer for Layered {
    async fn run(&self, key: u64, how: Work) -> u64 {
        // Ready, as the one behind it is.
        let called = self.clone().call((key, how));
        called.await.expect("the work cannot fail")
    }
}

/// Does what it is asked.
#[derive(Clone, Copy)]
struct Works;

impl Service<Request> for Works {
    type Response = u64;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<u64, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (_, how): Request) -> Self::Future {
        Box::pin(async move { Ok(work(how).await) })
    }
}
