//! A hit of the data cache over the bare look-up in what it keeps its values in; a hit of the HTTP cache over a service that clones a ready response, and a
//! miss over the same service, all read to the end.

use std::convert::Infallible;
use std::future::ready;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use buttress_cache::http::{CachedResponse, HttpCache, HttpCacheLayer};
use buttress_cache::{Cache, Eviction, Memory};
use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::Empty;
use tower_layer::Layer;
use tower_service::Service;

use super::http::{Body, Fixed, request, response};
use crate::kit::{Budget, Call, Row, Work, Zero, body_to_end, call};

/// Of a value with three tags.
pub const ROWS: &[Row] = &[
    Row::Call(Call {
        id: "cache/get-or-set/ours",
        budget: Some(Budget::new(60.0, 0)),
        zero: Zero::over(bare_quick),
        work: || get_or_set(Memory::default()),
    }),
    Row::Call(Call {
        id: "cache/get-or-set/ours-moka",
        budget: Some(Budget::new(60.0, 0)),
        zero: Zero::over(bare_moka).named("bare-moka"),
        work: || get_or_set(Memory::Moka(Eviction::TinyLfu)),
    }),
    Row::Call(Call {
        id: "cache/get/ours",
        budget: Some(Budget::new(60.0, 0)),
        zero: Zero::over(bare_quick),
        work: || get(Memory::default()),
    }),
    Row::Call(Call {
        id: "cache/get/ours-moka",
        budget: Some(Budget::new(60.0, 0)),
        zero: Zero::over(bare_moka).named("bare-moka"),
        work: || get(Memory::Moka(Eviction::TinyLfu)),
    }),
    Row::Call(Call {
        id: "cache/invalidate/ours",
        budget: None,
        zero: Zero::over(|| Work::new(|| ())),
        work: invalidate,
    }),
];

/// The same budget for a small body and for a big one: a hit does not touch its bytes.
pub const HTTP_ROWS: &[Row] = &[
    Row::Call(Call {
        id: "http-cache/hit-1k/ours",
        budget: Some(Budget::new(250.0, 0)),
        zero: Zero::over(|| bare(1 << 10)),
        work: || hit(1 << 10, Memory::default()),
    }),
    Row::Call(Call {
        id: "http-cache/hit-64k/ours",
        budget: Some(Budget::new(250.0, 0)),
        zero: Zero::over(|| bare(64 << 10)),
        work: || hit(64 << 10, Memory::default()),
    }),
    Row::Call(Call {
        id: "http-cache/hit-1k/ours-moka",
        budget: Some(Budget::new(400.0, 0)),
        zero: Zero::over(|| bare(1 << 10)),
        work: || hit(1 << 10, Memory::Moka(Eviction::TinyLfu)),
    }),
    Row::Call(Call {
        id: "http-cache/hit-64k/ours-moka",
        budget: Some(Budget::new(400.0, 0)),
        zero: Zero::over(|| bare(64 << 10)),
        work: || hit(64 << 10, Memory::Moka(Eviction::TinyLfu)),
    }),
    Row::Call(Call {
        id: "http-cache/miss-1k/ours",
        budget: Some(Budget::new(3000.0, 30)),
        zero: Zero::over(|| bare_of_many(stored())),
        work: || miss(stored(), Memory::default()),
    }),
    Row::Call(Call {
        id: "http-cache/miss-1k/ours-moka",
        budget: Some(Budget::new(3000.0, 36)),
        zero: Zero::over(|| bare_of_many(stored())),
        work: || miss(stored(), Memory::Moka(Eviction::TinyLfu)),
    }),
    Row::Call(Call {
        id: "http-cache/miss-1k/ours-private",
        budget: Some(Budget::new(3000.0, 8)),
        zero: Zero::over(|| bare_of_many(private())).named("bare-private"),
        work: || miss(private(), Memory::default()),
    }),
];

/// What there is.
pub const KEY: &str = "product:42";

/// With the hasher that ours has.
fn bare_moka() -> Work {
    let level = moka::sync::Cache::<Arc<[u8]>, Arc<u64>>::builder()
        .max_capacity(1024)
        .build_with_hasher(foldhash::quality::RandomState::default());
    level.insert(KEY.as_bytes().into(), Arc::new(7));
    Work::new(move || level.get(KEY.as_bytes()))
}

fn bare_quick() -> Work {
    let level = quick_cache::sync::Cache::<Arc<[u8]>, Arc<u64>>::new(1024);
    level.insert(KEY.as_bytes().into(), Arc::new(7));
    Work::new(move || level.get(KEY.as_bytes()))
}

/// With [`KEY`], which has three tags.
#[must_use]
pub fn cache(memory: Memory) -> Cache<u64> {
    let cache = Cache::builder().memory(memory).build();
    // So that there is something to look at for each slot, and a reason to look.
    cache.invalidate(["shop:1", "brand:3", "category:7"]).now();
    cache.remove(KEY).now();
    cache
        .set(KEY, 7)
        .tags(["shop:1", "brand:3", "category:7"])
        .store();
    cache.invalidate(["shop:2"]).now();
    cache
}

fn get(memory: Memory) -> Work {
    let cache = cache(memory);
    Work::new(move || cache.get(KEY).now())
}

fn get_or_set(memory: Memory) -> Work {
    let cache = cache(memory);
    let mut cx = Context::from_waker(Waker::noop());
    Work::new(move || {
        let call = cache.get_or_set(KEY, |_| ready(Ok::<_, Infallible>(Some(8))));
        match pin!(call).poll(&mut cx) {
            Poll::Ready(hit) => hit,
            Poll::Pending => unreachable!("it is there"),
        }
    })
}

fn invalidate() -> Work {
    let cache = cache(Memory::default());
    Work::new(move || cache.invalidate(["shop:1", "brand:3", "category:7"]).now())
}

fn bare(len: usize) -> Work {
    let (mut service, request) = (Fixed::new(response(len)), request(&[]));
    Work::new(move || {
        let Ok(response) = call(&mut service, request.clone());
        body_to_end(response)
    })
}

fn hit(len: usize, memory: Memory) -> Work {
    let (mut service, request) = (kept(len, memory), request(&[]));
    Work::new(move || {
        let Ok(response) = call(&mut service, request.clone());
        body_to_end(response)
    })
}

/// The layer around a service with a body of so many bytes, which it has stored.
#[must_use]
pub fn kept(len: usize, memory: Memory) -> HttpCache<Fixed> {
    let layer = HttpCacheLayer::new(CachedResponse::cache().memory(memory).build());
    let mut service = layer.layer(Fixed::new(response(len)));
    let Ok(filled) = call(&mut service, request(&[]));
    assert_eq!(body_to_end(filled), len);
    let Ok(again) = call(&mut service, request(&[]));
    assert!(
        again.headers().contains_key("age"),
        "it came from the store"
    );
    service
}

/// Less than is stored: what is new pushes something out.
const ROOM: u64 = 1 << 20;

fn stored() -> Response<Body> {
    response(1 << 10)
}

/// What a cache may not keep.
fn private() -> Response<Body> {
    let mut response = response(1 << 10);
    let private = HeaderValue::from_static("private, max-age=86400");
    response.headers_mut().insert(CACHE_CONTROL, private);
    response
}

/// One request after the other, each for another target.
fn of_many<S, B>(mut service: S) -> Work
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible> + 'static,
    B: http_body::Body + 'static,
{
    let mut targets = (0_u64..).map(|n| format!("http://shop.example/products/{n}?view=full"));
    let request = request(&[]);
    Work::new(move || {
        let mut request = request.clone();
        let target = targets.next().map(Uri::try_from);
        *request.uri_mut() = target.expect("there are more").expect("a target");
        let Ok(response) = call(&mut service, request);
        body_to_end(response)
    })
}

fn bare_of_many(response: Response<Body>) -> Work {
    of_many(Fixed::new(response))
}

fn miss(response: Response<Body>, memory: Memory) -> Work {
    let cache = CachedResponse::cache().memory(memory).max_weight(ROOM);
    let cache = cache.build();
    let service = HttpCacheLayer::new(cache.clone()).layer(Fixed::new(response));
    let mut work = of_many(service);
    work.run(10_000);
    assert_eq!(cache.snapshot().hits, 0, "none of them came from the store");
    work
}
