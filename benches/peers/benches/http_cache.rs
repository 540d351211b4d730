//! HTTP caches as layers: a hit of a stored response with eight fields, read to its end, over a service that clones one that is ready.
//!
//! Each is set up as its documentation shows, and keeps what it stores in memory. `tower-resilience-cache` knows nothing of HTTP: it stores whatever came, under
//! the method and the URI. What making the request costs is in all of them.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use buttress_cache::{Eviction, Memory};
use buttress_cache::http::{CachedResponse, HttpCacheLayer};
use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::Full;
use peers::{both_ways, exchange, runtime};
use tower_layer::Layer;
use tower_service::Service;

type Body = Full<Bytes>;

/// Clones one response, which is as cheap as a service can be.
#[derive(Clone)]
struct Page {
    response: Arc<Response<Body>>,
    /// How often, where that is to be known: two threads would wait for each other here.
    calls: Option<Arc<AtomicUsize>>,
}

impl Page {
    fn of(bytes: usize) -> Self {
        let mut response = Response::new(Full::new(Bytes::from(vec![b'x'; bytes])));
        *response.headers_mut() = fields(&[
            ("content-type", "application/json"),
            ("cache-control", "public, max-age=86400"),
            ("etag", "\"33a64df551425fcc55e4d42a148795d9f25f89d4\""),
            ("last-modified", "Wed, 21 Oct 2015 07:28:00 GMT"),
            ("vary", "accept-encoding"),
            ("content-language", "en"),
            ("x-content-type-options", "nosniff"),
            ("server", "shop"),
        ]);
        Self {
            response: Arc::new(response),
            calls: Some(Arc::default()),
        }
    }

    fn calls(&self) -> usize {
        let calls = self.calls.as_ref();
        calls.map_or(0, |calls| calls.load(Ordering::Relaxed))
    }

    fn uncounted(&self) -> Self {
        Self {
            calls: None,
            ..self.clone()
        }
    }
}

impl Service<Request<Body>> for Page {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        if let Some(calls) = &self.calls {
            calls.fetch_add(1, Ordering::Relaxed);
        }
        ready(Ok(Response::clone(&self.response)))
    }
}

fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let field = |&(name, value)| {
        let name = HeaderName::from_static(name);
        (name, HeaderValue::from_static(value))
    };
    fields.iter().map(field).collect()
}

fn request() -> Request<Body> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = http::Uri::from_static("http://shop.example/products/42?view=full");
    *request.headers_mut() = fields(&[
        ("host", "shop.example"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0)"),
        ("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
        ("accept-language", "en-GB,en;q=0.7,de;q=0.3"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
    ]);
    request
}

/// From the third call on. That has to be a hit: `page` is not asked any more.
fn measure<S, B>(criterion: &mut Criterion, id: &str, page: &Page, mut service: S)
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send,
    S::Error: std::fmt::Debug,
    B: http_body::Body,
{
    let _entered = runtime().enter();
    for _ in 0..2 {
        exchange(&mut service, request());
        // Some store in a task.
        runtime().block_on(async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        });
    }
    let filled = page.calls();
    exchange(&mut service, request());
    assert_eq!(page.calls(), filled, "{id}: a miss");
    both_ways(criterion, &format!("http-cache/{id}"), || {
        let mut service = service.clone();
        move || {
            exchange(&mut service, request());
        }
    });
}

fn ours(memory: Memory) -> HttpCacheLayer {
    HttpCacheLayer::new(CachedResponse::cache().memory(memory).build())
}

fn hits(criterion: &mut Criterion) {
    for (size, bytes) in [("1k", 1 << 10), ("64k", 64 << 10)] {
        let page = &Page::of(bytes);
        let id = |who: &str| format!("hit-{size}/{who}");
        measure(criterion, &id("bare"), page, page.uncounted());
        measure(
            criterion,
            &id("ours"),
            page,
            ours(Memory::default()).layer(page.clone()),
        );
        measure(
            criterion,
            &id("ours-moka"),
            page,
            ours(Memory::Moka(Eviction::TinyLfu)).layer(page.clone()),
        );

        let store = http_cache::MokaManager::new(http_cache::MokaCacheBuilder::new(1000).build());
        let layer = http_cache_tower::HttpCacheLayer::new(store);
        measure(
            criterion,
            &id("http-cache-tower"),
            page,
            layer.layer(page.clone()),
        );

        let store = http_cache::MokaManager::new(http_cache::MokaCacheBuilder::new(1000).build());
        let keyer = http_cache_tower_server::QueryKeyer;
        let layer = http_cache_tower_server::ServerCacheLayer::with_keyer(store, keyer);
        measure(
            criterion,
            &id("http-cache-tower-server"),
            page,
            layer.layer(page.clone()),
        );

        let store = tower_http_cache::prelude::InMemoryBackend::new(10_000);
        let layer = tower_http_cache::prelude::CacheLayer::builder(store)
            .ttl(Duration::from_secs(3600))
            .respect_cache_control(true)
            .build();
        measure(
            criterion,
            &id("tower-http-cache"),
            page,
            layer.layer(page.clone()),
        );

        let layer = tower_resilience_cache::CacheLayer::builder()
            .max_size(10_000)
            .ttl(Duration::from_secs(3600))
            .key_extractor(|request: &Request<Body>| {
                (request.method().clone(), request.uri().clone())
            });
        let layer = layer.build().expect("valid");
        measure(
            criterion,
            &id("tower-resilience-cache"),
            page,
            layer.layer(page.clone()),
        );
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots();
    targets = hits
}
criterion_main!(benches);
