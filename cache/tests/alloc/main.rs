//! What a hit allocates, as an assertion. A binary of its own, since the allocator counts for the whole process.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;

use buttress_cache::http::{CachedResponse, HttpCacheLayer};
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{Empty, Full};
use testkit::alloc::{Allocations, Counting, count};
use testkit::laws::read_body;
use tokio_test::block_on;
use tower::{Layer, Service, service_fn};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn response(len: usize) -> Response<Full<Bytes>> {
    let response = Response::builder().header("cache-control", "max-age=60");
    let response = response
        .header("etag", "\"1\"")
        .header("vary", "accept-encoding");
    response.body(Full::from(vec![7; len])).unwrap()
}

/// What most hits allocate on a body of so many bytes. Once a second a line of `Cache-Status` is made; most do
/// not.
fn hit(len: usize) -> Allocations {
    let layer = HttpCacheLayer::new(CachedResponse::cache().build()).x_cache(true);
    let mut service = layer.layer(service_fn(move |_: Request<Empty<Bytes>>| {
        std::future::ready(Ok::<_, Infallible>(response(len)))
    }));
    let mut get = || {
        let mut request = Request::new(Empty::new());
        let encoding = HeaderValue::from_static("gzip, br");
        request.headers_mut().insert("accept-encoding", encoding);
        // Only the call and its answer are counted, and not the runtime around them.
        let (spent, response) = count(|| {
            let mut future = std::pin::pin!(service.call(request));
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let std::task::Poll::Ready(response) = future.as_mut().poll(&mut cx) else {
                panic!("nothing here waits")
            };
            response.unwrap()
        });
        let is_hit = response.headers().contains_key("age");
        block_on(read_body(response));
        (spent, is_hit)
    };
    let hits = (0..200).map(|_| get()).filter(|(_, is_hit)| *is_hit);
    let spent = hits.map(|(spent, _)| spent);
    spent
        .min_by_key(|spent| spent.count)
        .expect("there are hits")
}

#[test]
fn a_hit_allocates_no_more_than_cloning_a_ready_response() {
    let ready = response(1024);
    // The first clone of bytes makes them shared.
    drop(ready.clone());
    let (bare, clone) = count(|| ready.clone());
    drop(clone);
    assert_eq!(hit(1024).count, bare.count);
}

#[test]
fn what_a_hit_allocates_is_independent_of_its_body() {
    assert_eq!(hit(1), hit(1 << 20));
}

/// A request that is forwarded for itself, since answers to its like were private a moment ago: a copy of its fields, which is two, its key, and what it is
/// forwarded with.
#[test]
fn a_request_that_passes_allocates_little() {
    let private = || {
        let response = Response::builder().header("cache-control", "no-store");
        response.body(Full::<Bytes>::from("own")).unwrap()
    };
    let inner = move |_: Request<Empty<Bytes>>| std::future::ready(Ok::<_, Infallible>(private()));
    let layer = HttpCacheLayer::new(CachedResponse::cache().build());
    let mut service = layer.layer(service_fn(inner));
    let mut ask = || {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = http::Uri::from_static("/a");
        let accept = HeaderValue::from_static("text/html");
        request.headers_mut().insert("accept", accept);
        let (spent, response) = count(|| {
            let mut future = std::pin::pin!(service.call(request));
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let std::task::Poll::Ready(response) = future.as_mut().poll(&mut cx) else {
                panic!("nothing here waits")
            };
            response.unwrap()
        });
        assert_eq!(response.headers()["cache-status"], "buttress; fwd=uri-miss");
        spent.count
    };
    let (bare, response) = count(private);
    drop(response);
    let least = (0..200).map(|_| ask()).min().expect("some were asked");
    assert_eq!(least, bare.count + 4);
}
