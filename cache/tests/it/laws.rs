use std::sync::atomic::{AtomicUsize, Ordering};

use ::http::{Request, Response};
use buttress_cache::http::{CacheBody, CachedResponse, HttpCacheLayer};
use bytes::Bytes;
use http_body_util::Empty;
use testkit::laws::read_body;
use testkit::probe::{Probe, ProbeError, ProbedBody};

fn storable(probe: &Probe, _: Request<Empty<Bytes>>) -> Result<Response<ProbedBody>, ProbeError> {
    let response = Response::builder().header("cache-control", "max-age=60");
    Ok(response.body(probe.body(&["a", "b"])).unwrap())
}

/// Each time for something that is not stored yet.
fn unseen() -> Request<Empty<Bytes>> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    Request::get(format!("/{}", NEXT.fetch_add(1, Ordering::SeqCst)))
        .body(Empty::new())
        .unwrap()
}

testkit::tower_laws! {
    mod a_miss_that_is_stored {
        readiness: Always,
        layer: HttpCacheLayer::new(CachedResponse::cache().build()),
        request: unseen,
        answer: storable,
        read: |response: Response<CacheBody<ProbedBody>>| read_body(response),
        given_back: |_: &HttpCacheLayer| {},
    }
}

testkit::tower_laws! {
    mod a_request_that_passes {
        readiness: Always,
        layer: HttpCacheLayer::new(CachedResponse::cache().build()),
        request: || Request::post("/").body(Empty::new()).unwrap(),
        answer: storable,
        read: |response: Response<CacheBody<ProbedBody>>| read_body(response),
        given_back: |_: &HttpCacheLayer| {},
    }
}

testkit::tower_laws! {
    mod a_miss_that_is_not_shared {
        readiness: Always,
        layer: HttpCacheLayer::new(CachedResponse::cache().build()).collapse(false),
        request: unseen,
        answer: storable,
        read: |response: Response<CacheBody<ProbedBody>>| read_body(response),
        given_back: |_: &HttpCacheLayer| {},
    }
}

/// Each time for the same, and never fresh: one leads, and is asked about what is stored.
fn stale(probe: &Probe, _: Request<Empty<Bytes>>) -> Result<Response<ProbedBody>, ProbeError> {
    let response = Response::builder().header("cache-control", "max-age=0");
    let response = response.header("etag", "\"1\"");
    Ok(response.body(probe.body(&["a", "b"])).unwrap())
}

testkit::tower_laws! {
    mod a_validation {
        readiness: Always,
        layer: HttpCacheLayer::new(CachedResponse::cache().build()),
        request: || Request::get("/").body(Empty::new()).unwrap(),
        answer: stale,
        read: |response: Response<CacheBody<ProbedBody>>| read_body(response),
        given_back: |_: &HttpCacheLayer| {},
    }
}
