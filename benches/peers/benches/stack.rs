//! All layers of a server around a hello world that no cache may keep, with a sampled trace from the caller.
//!
//! `ours` is trace-ctx, negotiate, cache, idempotency and dedup. Nobody else has all of these, so what stands beside it does less: tower-http's trace and
//! request ids, by themselves and with an HTTP cache below. What making the request costs is in all of them.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};
use std::time::Duration;

use buttress_cache::http::{CachedResponse, HttpCacheLayer};
use buttress_dedup::DedupLayer;
use buttress_idempotency::{IdempotencyLayer, MemoryStore};
use buttress_negotiate::{Csv, Json, NdJson, NegotiateLayer};
use buttress_trace_ctx::TraceLayer;
use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::Full;
use peers::{both_ways, exchange};
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::trace::TraceLayer as TowerHttp;
use tower_layer::Layer;
use tower_service::Service;

type Body = Full<Bytes>;

#[derive(Clone)]
struct Hello;

impl<B> Service<Request<B>> for Hello {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        let mut response = Response::new(Full::new(Bytes::from_static(b"hello, world")));
        let never = HeaderValue::from_static("no-store");
        response.headers_mut().insert("cache-control", never);
        ready(Ok(response))
    }
}

fn request() -> Request<Body> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = http::Uri::from_static("http://shop.example/hello");
    for (name, value) in [
        ("host", "shop.example"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0)"),
        ("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
        ("accept-language", "en-GB,en;q=0.7,de;q=0.3"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("connection", "keep-alive"),
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
    ] {
        let name = HeaderName::from_static(name);
        let value = HeaderValue::from_static(value);
        request.headers_mut().insert(name, value);
    }
    request
}

fn measure<S, B>(criterion: &mut Criterion, id: &str, service: S)
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send,
    S::Error: std::fmt::Debug,
    B: http_body::Body,
{
    both_ways(criterion, &format!("stack/hello/{id}"), || {
        let mut service = service.clone();
        move || {
            exchange(&mut service, request());
        }
    });
}

fn hello(criterion: &mut Criterion) {
    measure(criterion, "bare", Hello);

    let idempotency = IdempotencyLayer::new(MemoryStore::new()).single_tenant();
    let once = idempotency.layer(DedupLayer::http().layer(Hello));
    let kept = HttpCacheLayer::new(CachedResponse::cache().build()).layer(once);
    let negotiated = NegotiateLayer::new((Json, NdJson::new(), Csv::new())).layer(kept);
    measure(criterion, "ours", TraceLayer::server().layer(negotiated));

    measure(criterion, "tower-http", tower_http(Hello));
    let store = tower_http_cache::prelude::InMemoryBackend::new(10_000);
    let cache = tower_http_cache::prelude::CacheLayer::builder(store)
        .ttl(Duration::from_secs(3600))
        .respect_cache_control(true)
        .build();
    let cached = tower_http(cache.layer(Hello));
    measure(criterion, "tower-http-and-tower-http-cache", cached);
}

fn tower_http<S, B>(
    inner: S,
) -> impl Service<Request<Body>, Response = Response<impl http_body::Body>, Error = S::Error>
+ Clone
+ Send
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send,
    S::Error: std::fmt::Display + 'static,
    B: http_body::Body,
    B::Error: std::fmt::Display + 'static,
{
    let with_id = PropagateRequestIdLayer::x_request_id().layer(inner);
    let traced = TowerHttp::new_for_http().layer(with_id);
    SetRequestIdLayer::x_request_id(MakeRequestUuid).layer(traced)
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots();
    targets = hello
}
criterion_main!(benches);
