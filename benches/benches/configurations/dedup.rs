//! A flight that nobody else takes part in: by kind of key, and over HTTP by the size of the body.

use std::convert::Infallible;
use std::hash::Hash;
use std::hint::black_box;
use std::iter::Cycle;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::vec::IntoIter;

use benches::kit::{body_to_end, call};
use benches::rows::http::{Fixed, request, response};
use buttress_dedup::{DedupLayer, Event, Flights};
use bytes::Bytes;
use criterion::Criterion;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Empty;
use tower_layer::Layer;
use tower_service::Service;

use super::threads::both_ways;

/// Each thread has a thousand keys of its own, made beforehand and cloned for each call, as they are in what is `bare`.
pub(super) fn keys(criterion: &mut Criterion) {
    key(criterion, "number", |n| n);
    key(criterion, "text", |n| format!("shop.example/products/{n}"));
    key(criterion, "shared-text", |n| {
        Arc::<str>::from(format!("shop.example/products/{n}"))
    });
}

/// The same with numbers, where somebody hears of each flight, and where nobody does.
pub(super) fn observers(criterion: &mut Criterion) {
    let nobody = Flights::<(), ()>::builder();
    run(criterion, "dedup/observer/none", &nobody.build(), |n| n);
    let one = Flights::<(), ()>::builder().observer(ignore);
    run(criterion, "dedup/observer/one", &one.build(), |n| n);
}

fn ignore(_: &Event<'_>) {}

fn key<K>(criterion: &mut Criterion, name: &str, make: fn(u64) -> K)
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
{
    let keys = in_turn(make);
    both_ways(criterion, &format!("dedup/key/{name}-bare"), || {
        let mut keys = keys();
        move || {
            let key = black_box(keys.next());
            black_box(now(std::future::ready((key, 7))));
        }
    });
    run(
        criterion,
        &format!("dedup/key/{name}"),
        &Flights::new(),
        make,
    );
}

fn run<K>(criterion: &mut Criterion, id: &str, flights: &Flights<K, u64>, make: fn(u64) -> K)
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
{
    let keys = in_turn(make);
    both_ways(criterion, id, || {
        let (flights, mut keys) = (flights.clone(), keys());
        move || {
            let key = black_box(keys.next()).expect("it never ends");
            now(flights.run(key, || std::future::ready(7)));
        }
    });
}

/// A thousand keys for each who asks, again and again.
fn in_turn<K: Clone>(make: fn(u64) -> K) -> impl Fn() -> Cycle<IntoIter<K>> {
    let threads = AtomicU64::new(0);
    move || {
        let first = 1000 * threads.fetch_add(1, Ordering::Relaxed);
        let keys: Vec<K> = (first..first + 1000).map(make).collect();
        keys.into_iter().cycle()
    }
}

/// Nobody is waited for.
fn now<F: Future>(work: F) -> F::Output {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("nobody else is here"),
    }
}

pub(super) fn bodies(criterion: &mut Criterion) {
    for (size, len) in [("1k", 1 << 10), ("64k", 64 << 10), ("1m", 1 << 20)] {
        let service = Fixed::new(response(len));
        let id = |name: &str| format!("dedup/body-{size}/{name}");
        serve(criterion, &id("bare"), &service, len);
        serve(
            criterion,
            &id("http"),
            &DedupLayer::http().layer(service),
            len,
        );
    }
}

fn serve<S, B>(criterion: &mut Criterion, id: &str, service: &S, len: usize)
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible> + Clone + Send,
    B: Body,
{
    // By one thread: two that ask for the same take part in one flight, which is another thing.
    let (mut service, request) = (service.clone(), request(&[]));
    criterion.bench_function(id, |bencher| {
        bencher.iter(|| {
            let Ok(response) = call(&mut service, request.clone());
            assert_eq!(body_to_end(response), len);
        });
    });
}
