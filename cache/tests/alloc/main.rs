//! What a hit allocates, as an assertion. A binary of its own, since the allocator counts for the whole process.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;

use buttress_cache::http::{CachedResponse, HttpCacheLayer};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use testkit::alloc::{Counting, count};
use testkit::laws::read_body;
use tokio_test::block_on;
use tower::{Layer, Service, service_fn};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn response() -> Response<Full<Bytes>> {
    let response = Response::builder().header("cache-control", "max-age=60");
    let response = response
        .header("etag", "\"1\"")
        .header("vary", "accept-encoding");
    response.body(Full::from(vec![7; 1024])).unwrap()
}

#[test]
fn a_hit_allocates_no_more_than_cloning_a_ready_response() {
    let layer = HttpCacheLayer::new(CachedResponse::cache().build()).x_cache(true);
    let mut service = layer.layer(service_fn(async |_: Request<Empty<Bytes>>| {
        Ok::<_, Infallible>(response())
    }));
    let mut get = || {
        let request = Request::new(Empty::new());
        // Only the call and its answer are counted, and not the runtime around them.
        let (spent, response) = count(|| {
            let mut future = std::pin::pin!(service.call(request));
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let std::task::Poll::Ready(response) = future.as_mut().poll(&mut cx) else {
                panic!("nothing here waits")
            };
            response.unwrap()
        });
        let hit = response.headers().contains_key("age");
        block_on(read_body(response));
        (spent, hit)
    };
    // Now and then a look-up does moka's housekeeping too; most do not.
    let hits = (0..200).map(|_| get()).filter(|(_, hit)| *hit);
    let spent = hits
        .map(|(spent, _)| spent.count)
        .min()
        .expect("there are hits");
    let ready = response();
    // The first clone of bytes makes them shared.
    drop(ready.clone());
    let (bare, clone) = count(|| ready.clone());
    drop(clone);
    assert_eq!(spent, bare.count);
}
