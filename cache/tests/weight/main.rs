//! What stored responses really take, beside what they are weighed. A binary of its own, since the allocator counts for the whole process.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;

use buttress_cache::http::{CachedResponse, HttpCacheLayer};
use buttress_cache::{Cache, Memory};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use testkit::alloc::{Holding, held};
use testkit::laws::read_body;
use tower::{Layer, Service, service_fn};

#[global_allocator]
static ALLOCATOR: Holding = Holding;

/// As from a connection: each field has bytes of its own.
fn response(len: usize) -> Response<Full<Bytes>> {
    let response = Response::builder()
        .header("content-type", "application/json; charset=utf-8")
        .header("cache-control", "public, max-age=86400")
        .header("etag", "\"33a64df551425fcc55e4d42a148795d9f25f89d4\"")
        .header("last-modified", "Wed, 21 Oct 2015 07:28:00 GMT")
        .header("vary", "accept-encoding")
        .header("content-length", len)
        .header("server", "shop");
    response.body(Full::from(vec![7; len])).unwrap()
}

/// Asks for `urls` distinct URLs, whose bodies have from 0 to `2 * mean` bytes, each with `hits` hits.
async fn fill(cache: &Cache<CachedResponse>, urls: usize, mean: usize) {
    let layer = HttpCacheLayer::new(cache.clone());
    let mut service = layer.layer(service_fn(move |request: Request<Empty<Bytes>>| {
        let n: usize = request.uri().path()[1..].parse().unwrap();
        std::future::ready(Ok::<_, Infallible>(response(n * 7919 % (2 * mean + 1))))
    }));
    for n in 0..urls {
        for encoding in ["gzip", "br"] {
            let request = Request::get(format!("http://shop.example/{n}"));
            let request = request.header("accept-encoding", encoding);
            let request = request.body(Empty::new()).unwrap();
            let Ok(response) = service.call(request).await;
            read_body(response).await;
            // Every third has two variants.
            if n % 3 != 0 {
                break;
            }
        }
    }
}

/// How many URLs: more of them in a soak.
fn urls() -> usize {
    let urls = std::env::var("HTTP_URLS").ok();
    urls.and_then(|urls| urls.parse().ok()).unwrap_or(10_000)
}

/// Both in one, for the allocator counts for all threads.
#[tokio::test]
async fn memory_stays_inside_its_bound_and_an_entry_weighs_what_it_takes() {
    let before = held();
    let cache = CachedResponse::cache()
        .max_weight(1 << 30)
        .slots(1024)
        .build();
    fill(&cache, 1000, 0).await;
    let now = cache.snapshot();
    let taken = held() - before;
    let per_entry = taken as u64 / now.entries;
    println!(
        "an entry without a body: {per_entry} bytes, weighed {}",
        now.weight / now.entries
    );
    assert!(per_entry < 4096, "{per_entry}");
    let ratio = now.weight as f64 / taken as f64;
    assert!(
        (0.9..1.5).contains(&ratio),
        "weighed {ratio} of what it takes"
    );
    for memory in [
        Memory::default(),
        #[cfg(feature = "moka")]
        Memory::Moka(buttress_cache::Eviction::TinyLfu),
    ] {
        const BOUND: usize = 8 << 20;
        // The store's own tables are there before anything is in them, and grow a little.
        const TABLES: usize = BOUND / 32;
        let cache = CachedResponse::cache()
            .memory(memory)
            .max_weight(BOUND as u64)
            .slots(1024)
            .build();
        let before = held();
        fill(&cache, urls(), 2048).await;
        let now = cache.snapshot();
        let taken = held() - before;
        println!(
            "{memory:?}: {} URLs, {} entries, weighed {}, taken {taken}, bound {BOUND}",
            urls(),
            now.entries,
            now.weight
        );
        assert!(now.weight <= BOUND as u64, "{memory:?}: {}", now.weight);
        assert!(
            now.weight >= BOUND as u64 / 2,
            "{memory:?}: the room is used"
        );
        assert!(taken <= BOUND + TABLES, "{memory:?}: {taken}");
    }
}
