//! A replay from the memory store, read to its end: each thread its own key, and both the same.

use std::sync::atomic::{AtomicU64, Ordering};

use benches::kit::{body_to_end, call};
use benches::rows::http::{Body, Fixed, request, response};
use buttress_idempotency::{IdempotencyLayer, MemoryStore};
use bytes::Bytes;
use criterion::Criterion;
use http::{Method, Request};
use http_body_util::Full;
use tokio::runtime::Builder;
use tower_layer::Layer;

use super::threads::both_ways;

pub(super) fn replays(criterion: &mut Criterion) {
    let layer = IdempotencyLayer::new(MemoryStore::new()).single_tenant();
    let service = layer.layer(Fixed::new(response(1 << 10)));
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    for (name, step) in [("own-keys", 1), ("one-key", 0)] {
        let keys = AtomicU64::new(0);
        let id = format!("idempotency/replayed/{name}");
        both_ways(criterion, &id, || {
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
                body_to_end(response);
            }
        });
    }
}

fn order(key: u64) -> Request<Body> {
    let mut order = request(&[]).map(|_| Full::new(Bytes::from(vec![b'x'; 256])));
    *order.method_mut() = Method::POST;
    order.headers_mut().insert("idempotency-key", key.into());
    order
}
