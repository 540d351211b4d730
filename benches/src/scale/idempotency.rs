//! Records in the memory store, and the bodies in them.

use std::num::NonZeroUsize;

use buttress_idempotency::{IdempotencyLayer, MemoryStore};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::Full;
use tower_layer::Layer;
use tower_service::Service;

use super::{Curve, Order};
use crate::kit::{Work, body_to_end, call};
use crate::rows::http::{Body, Fixed};
use crate::rows::idempotency::runtime;

pub(super) const CURVES: &[Curve] = &[
    Curve {
        id: "idempotency/replay/records",
        unit: "records",
        sizes: &[10, 100, 1000, 10_000, 100_000],
        order: Order::Constant,
        is_filled: true,
        work: |records| replays(records, 100),
    },
    Curve {
        id: "idempotency/replay/body",
        unit: "bytes of body",
        sizes: &[1 << 10, 1 << 14, 1 << 18],
        order: Order::Constant,
        is_filled: false,
        work: |bytes| replays(1, bytes),
    },
];

/// Replays of so many records, one after the other.
fn replays(records: usize, bytes: usize) -> Work {
    let store = MemoryStore::builder()
        .max_keys(NonZeroUsize::new(records * 4 + 1024).expect("more than none"))
        .max_bytes(1 << 32)
        .build();
    let body = Bytes::from(vec![b'x'; bytes]);
    let layer = IdempotencyLayer::new(store).single_tenant();
    let mut service = layer.layer(Fixed::new(Response::new(Full::new(body))));
    {
        // A first call has a lease to renew, and so needs a timer.
        let runtime = runtime();
        let _entered = runtime.enter();
        for record in 0..records {
            assert!(!is_replayed(&mut service, record), "it is the first");
        }
    }
    let mut record = 0;
    Work::new(move || {
        record = (record + 1) % records;
        assert!(is_replayed(&mut service, record));
    })
}

fn is_replayed<S, B>(service: &mut S, record: usize) -> bool
where
    S: Service<Request<Body>, Response = Response<B>, Error = std::convert::Infallible>,
    B: http_body::Body,
{
    let mut order = Request::new(Full::new(Bytes::from_static(b"{}")));
    *order.method_mut() = Method::POST;
    let key = HeaderValue::from(1_000_000 + record);
    order.headers_mut().insert("idempotency-key", key);
    let Ok(response) = call(service, order);
    let is_replayed = response.headers().contains_key("idempotency-replayed");
    body_to_end(response);
    is_replayed
}
