//! A replay from memory over a service that clones a ready response, both read to the end.

use buttress_idempotency::{IdempotencyLayer, MemoryStore};
use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use http_body_util::Full;
use tokio::runtime::{Builder, Runtime};
use tower_layer::Layer;

use super::http::{Body, Fixed, request, response};
use crate::kit::{Budget, Call, Row, Work, Zero, body_to_end, call};

/// The request has a body of 256 bytes, the response one of 1 KiB.
pub const ROWS: &[Row] = &[Row::Call(Call {
    id: "idempotency/replay/memory",
    budget: Some(Budget::new(1000.0, 6)),
    zero: Zero::Over(bare),
    work: replay,
})];

fn bare() -> Work {
    let (mut service, order) = (Fixed(response(1 << 10)), order());
    Work::new(move || {
        let Ok(response) = call(&mut service, order.clone());
        body_to_end(response)
    })
}

fn replay() -> Work {
    let layer = IdempotencyLayer::new(MemoryStore::new())
        .scope(|request| request.headers["x-user"].as_bytes().into());
    let (mut service, order, runtime) = (layer.layer(Fixed(response(1 << 10))), order(), runtime());
    {
        // The first call has a lease to renew, and so needs a timer. A replay has not.
        let _entered = runtime.enter();
        let Ok(first) = call(&mut service, order.clone());
        assert_eq!(body_to_end(first), 1 << 10);
    }
    let Ok(again) = call(&mut service, order.clone());
    let replayed = HeaderValue::from_static("true");
    assert_eq!(again.headers().get("idempotency-replayed"), Some(&replayed));
    Work::new(move || {
        let Ok(response) = call(&mut service, order.clone());
        body_to_end(response)
    })
}

fn order() -> Request<Body> {
    let key = [("idempotency-key", "order-4711"), ("x-user", "ada")];
    let mut order = request(&key).map(|_| Full::new(Bytes::from(vec![b'x'; 256])));
    *order.method_mut() = Method::POST;
    order
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder
        .enable_time()
        .build()
        .expect("a runtime without I/O")
}
