//! What the layer allocates, as assertions. A binary of its own, since the allocator counts for the whole process.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use buttress_idempotency::{IdempotencyLayer, IdempotentBody, MemoryStore, Scoped};
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::Full;
use testkit::alloc::{Counting, count};
use tower::{Layer, Service, service_fn};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Layered = IdempotencyLayer<MemoryStore, Scoped>;

/// What a call for which everything is ready allocates, after so many that all tables have their size.
async fn once_warm(layer: &Layered) -> u64 {
    let response = Arc::new(Response::new(Full::new(Bytes::from_static(b"ordered"))));
    let mut service = layer.layer(service_fn(move |_: Request<_>| {
        std::future::ready(Ok::<_, Infallible>(Response::clone(&response)))
    }));
    let mut allocated = 0;
    for _ in 0..100 {
        tokio::time::advance(Duration::from_secs(2)).await;
        let key = HeaderValue::from_static("k");
        let order = Request::post("/orders").header("idempotency-key", key);
        let order = order.body(Full::new(Bytes::from_static(b"lamp"))).unwrap();
        let (allocations, ()) = count(|| {
            let mut call = pin!(service.call(order));
            let Poll::Ready(Ok(response)) = call.as_mut().poll(&mut context()) else {
                panic!("everything is ready")
            };
            read(response);
        });
        allocated = allocations.count;
    }
    allocated
}

fn read(response: Response<IdempotentBody<Full<Bytes>>>) {
    let mut body = pin!(response.into_body());
    while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut context()) {
        drop(frame.unwrap());
    }
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

#[tokio::test(start_paused = true)]
async fn a_replay_allocates_its_call_and_its_fields() {
    let layer = IdempotencyLayer::new(MemoryStore::new()).single_tenant();
    assert_eq!(once_warm(&layer).await, 4);
}

#[tokio::test(start_paused = true)]
async fn a_first_request_allocates_its_call_its_claim_and_its_record() {
    // Each record is over when the next request comes.
    let layer = IdempotencyLayer::new(MemoryStore::new())
        .single_tenant()
        .ttl(Duration::from_secs(1));
    assert_eq!(once_warm(&layer).await, 9);
}
