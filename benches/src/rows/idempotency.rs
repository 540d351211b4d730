//! First requests and replays with the memory store, over a service that clones a ready response, all read to the end.

use buttress_idempotency::{IdempotencyLayer, Idempotent, MemoryStore};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;
use tokio::runtime::{Builder, Runtime};
use tower_layer::Layer;

use super::fleeting::Fleeting;
use super::http::{Body, Fixed, request, response};
use crate::kit::{Budget, Call, Row, Work, Zero, body_to_end, call};

/// The request has a body of 256 bytes, the response one of 1 KiB.
pub const ROWS: &[Row] = &[
    Row::Call(Call {
        id: "idempotency/first/ours",
        budget: Some(Budget::new(1500.0, 24)),
        zero: Zero::over(bare_orders),
        work: first,
    }),
    Row::Call(Call {
        id: "idempotency/replay/ours",
        budget: Some(Budget::new(1000.0, 6)),
        zero: Zero::over(bare),
        work: replay,
    }),
];

fn bare() -> Work {
    let (mut service, order) = (Fixed::new(response(1 << 10)), order());
    Work::new(move || {
        let Ok(response) = call(&mut service, order.clone());
        body_to_end(response)
    })
}

/// As [`bare`], with the requests of [`first`] and in a runtime as it is, so that what copies them and enters it is taken away.
fn bare_orders() -> Work {
    let (mut service, mut orders) = (Fixed::new(response(1 << 10)), orders());
    let runtime = runtime();
    Work::new(move || {
        let _entered = runtime.enter();
        let Ok(response) = call(&mut service, orders.next().expect("it goes round"));
        body_to_end(response)
    })
}

fn first() -> Work {
    let layer = IdempotencyLayer::new(Fleeting::default())
        .scope(|request| request.headers[&USER].as_bytes().into());
    let mut service = layer.layer(Fixed::new(response(1 << 10)));
    let (mut orders, runtime) = (orders(), runtime());
    Work::new(move || {
        let _entered = runtime.enter();
        let Ok(response) = call(&mut service, orders.next().expect("it goes round"));
        debug_assert!(!response.headers().contains_key("idempotency-replayed"));
        body_to_end(response)
    })
}

fn replay() -> Work {
    let (mut service, order) = (done(), order());
    Work::new(move || {
        let Ok(response) = call(&mut service, order.clone());
        body_to_end(response)
    })
}

/// Says whose an order is. How a scope is found is the user's, as the handler is: so by a name that need not be read first.
const USER: HeaderName = HeaderName::from_static("x-user");

/// The layer around a service, which has done the [`order`].
#[must_use]
pub fn done() -> Idempotent<Fixed, MemoryStore> {
    let layer = IdempotencyLayer::new(MemoryStore::new())
        .scope(|request| request.headers[&USER].as_bytes().into());
    let (mut service, order) = (layer.layer(Fixed::new(response(1 << 10))), order());
    {
        // The first call has a lease to renew, and so needs a timer. A replay has not.
        let runtime = runtime();
        let _entered = runtime.enter();
        let Ok(first) = call(&mut service, order.clone());
        assert_eq!(body_to_end(first), 1 << 10);
    }
    let Ok(again) = call(&mut service, order.clone());
    let replayed = HeaderValue::from_static("true");
    assert_eq!(again.headers().get("idempotency-replayed"), Some(&replayed));
    service
}

/// Orders under 256 keys, in turn.
fn orders() -> impl Iterator<Item = Request<Body>> {
    let with_key = |key: u16| {
        let mut order = order();
        order.headers_mut().insert("idempotency-key", key.into());
        order
    };
    let orders: Vec<_> = (0..256).map(with_key).collect();
    (0..orders.len()).cycle().map(move |n| orders[n].clone())
}

/// A `POST` with a key.
#[must_use]
pub fn order() -> Request<Body> {
    let key = [("idempotency-key", "order-4711"), ("x-user", "ada")];
    let mut order = request(&key).map(|_| Full::new(Bytes::from(vec![b'x'; 256])));
    *order.method_mut() = Method::POST;
    order
}

pub(crate) fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder
        .enable_time()
        .build()
        .expect("a runtime without I/O")
}
