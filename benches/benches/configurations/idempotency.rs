//! A replay from the memory store, read to its end: each thread its own key, and both the same; and by the size of what is replayed.

use std::sync::atomic::{AtomicU64, Ordering};

use benches::kit::{body_to_end, call};
use benches::rows::http::{Body, Fixed, request, response};
use buttress_idempotency::{Event, IdempotencyLayer, Idempotent, MemoryStore};
use bytes::Bytes;
use criterion::Criterion;
use http::{Method, Request};
use http_body_util::Full;
use tokio::runtime::Builder;
use tower_layer::Layer;

use super::threads::both_ways;

pub(super) fn replays(criterion: &mut Criterion) {
    bare(criterion, "idempotency/replayed/bare", 1 << 10);
    for (name, step) in [("own-keys", 1), ("one-key", 0)] {
        let id = format!("idempotency/replayed/{name}");
        replay(criterion, &id, step, 1 << 10);
    }
    for (size, len) in [("1k", 1 << 10), ("64k", 64 << 10), ("1m", 1 << 20)] {
        let id = |name: &str| format!("idempotency/replayed-{size}/{name}");
        bare(criterion, &id("bare"), len);
        replay(criterion, &id("memory"), 1, len);
    }
}

fn bare(criterion: &mut Criterion, id: &str, len: usize) {
    let service = Fixed::new(response(len));
    both_ways(criterion, id, || {
        let (mut service, order) = (service.clone(), order(0));
        move || {
            let Ok(response) = call(&mut service, order.clone());
            body_to_end(response);
        }
    });
}

/// Who hears of a replay.
pub(super) fn observers(criterion: &mut Criterion) {
    let layer = || IdempotencyLayer::new(MemoryStore::new()).single_tenant();
    let none = layer().layer(Fixed::new(response(1 << 10)));
    replays_of(criterion, "idempotency/observer/none", &none, 1, 1 << 10);
    let one = layer().observer(ignore);
    let one = one.layer(Fixed::new(response(1 << 10)));
    replays_of(criterion, "idempotency/observer/one", &one, 1, 1 << 10);
}

fn ignore(_: &Event<'_>) {}

fn replay(criterion: &mut Criterion, id: &str, step: u64, len: usize) {
    let layer = IdempotencyLayer::new(MemoryStore::new()).single_tenant();
    let layer = layer.max_recorded_body(2 << 20);
    let service = layer.layer(Fixed::new(response(len)));
    replays_of(criterion, id, &service, step, len);
}

/// The keys of two threads are `step` apart.
fn replays_of(
    criterion: &mut Criterion,
    id: &str,
    service: &Idempotent<Fixed, MemoryStore>,
    step: u64,
    len: usize,
) {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let keys = AtomicU64::new(0);
    both_ways(criterion, id, || {
        let order = order(keys.fetch_add(step, Ordering::Relaxed));
        let mut service = service.clone();
        {
            // The first call has a lease to renew, and so needs a timer. A replay has not.
            let _entered = runtime.enter();
            let Ok(first) = call(&mut service, order.clone());
            body_to_end(first);
        }
        move || {
            let Ok(response) = call(&mut service, order.clone());
            assert_eq!(body_to_end(response), len);
        }
    });
}

fn order(key: u64) -> Request<Body> {
    let mut order = request(&[]).map(|_| Full::new(Bytes::from(vec![b'x'; 256])));
    *order.method_mut() = Method::POST;
    order.headers_mut().insert("idempotency-key", key.into());
    order
}
